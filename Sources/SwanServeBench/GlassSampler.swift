import Foundation
import SwanSystem

/// Watches the camera's picture and the result in the page, and matches the numbers in them.
struct GlassSampler {
    /// A number that was seen, and when by the page's clock, in milliseconds.
    struct Sighting: Equatable {
        let number: Int
        let time: Double
        /// When the camera took the picture; the same as `time` for results.
        let capture: Double
    }

    /// What the page recorded: the pictures of the camera as the page shows them, and the results.
    struct Record: Decodable {
        struct Sample: Decodable {
            let time: Double
            let capture: Double?
            let levels: [Double]
        }

        let input, output: [Sample]
    }

    /// The sightings of the camera's frames and of the results, each number once while it is seen.
    let input, output: [Sighting]
    /// The share of the results whose number could be read.
    let readable: Double

    init(_ record: Record) {
        (input, _) = Self.sightings(record.input)
        (output, readable) = Self.sightings(record.output)
    }

    /// The milliseconds from a camera frame in the page's own view of the camera to its result on the canvas: glass to
    /// glass, since both take the same way to the screen.
    var latencies: [Double] { matches.map { output[$0.output].time - input[$0.input].time } }

    /// The milliseconds from the capture of each result's frame until the result was on the canvas.
    var latenciesFromCapture: [Double] {
        matches.map { output[$0.output].time - input[$0.input].capture }
    }

    /// The indexes of the results whose camera frame was seen, and of that frame.
    private var matches: [(input: Int, output: Int)] {
        output.indices.compactMap { index in
            let result = output[index]
            let source = input.lastIndex { $0.number == result.number && $0.time <= result.time }
            return source.map { ($0, index) }
        }
    }

    /// The number of camera frames between the first and the last one with a result that have none.
    var missed: Int {
        let shown = Set(matches.map(\.input))
        guard let first = shown.min(), let last = shown.max() else { return input.count }
        return last - first + 1 - shown.count
    }

    private static func sightings(_ samples: [Record.Sample]) -> ([Sighting], readable: Double) {
        var seen: [Sighting] = []
        var unreadable = 0
        for sample in samples {
            guard let number = FrameCounter.number(in: sample.levels) else {
                unreadable += 1
                continue
            }
            guard seen.last?.number != number else { continue }
            seen.append(
                Sighting(number: number, time: sample.time, capture: sample.capture ?? sample.time)
            )
        }
        let share = 1 - Double(unreadable) / Double(max(samples.count, 1))
        return (seen, samples.isEmpty ? 0 : share)
    }

    // MARK: - In the page

    /// Starts to watch; `glass` collects samples. A result is sampled after the page has drawn in an animation frame.
    static let script = """
        (() => {
            const cells = \(FrameCounter.side), cell = 10, size = cells * cell;
            const canvas = new OffscreenCanvas(size, size);
            const context = canvas.getContext("2d", { willReadFrequently: true });
            const levels = (element) => {
                context.drawImage(element, 0, 0, size, size);
                const { data } = context.getImageData(0, 0, size, size);
                return Array.from({ length: cells * cells }, (_, index) => {
                    const left = (index % cells) * cell, top = Math.floor(index / cells) * cell;
                    let sum = 0;
                    for (let y = top + 3; y < top + 7; y += 1) {
                        for (let x = left + 3; x < left + 7; x += 1) sum += data[4 * (y * size + x) + 1];
                    }
                    return sum / 16;
                });
            };
            const differ = (a, b) => !b || a.some((level, index) => Math.abs(level - b[index]) > 20);
            const glass = { input: [], output: [] };
            window.glass = glass;
            const video = document.querySelector("#stage video");
            const output = document.querySelector("#output");
            const watch = (now, { captureTime }) => {
                const capture = captureTime > 0 && captureTime < now ? captureTime : now;
                glass.input.push({ capture, time: performance.now(), levels: levels(video) });
                video.requestVideoFrameCallback(watch);
            };
            video.requestVideoFrameCallback(watch);
            const { port1, port2 } = new MessageChannel();
            port1.onmessage = () => {
                const sample = { time: performance.now(), levels: levels(output) };
                if (differ(sample.levels, glass.output.at(-1)?.levels)) glass.output.push(sample);
            };
            const animate = () => {
                port2.postMessage(null);
                requestAnimationFrame(animate);
            };
            requestAnimationFrame(animate);
            return true;
        })()
        """
}
