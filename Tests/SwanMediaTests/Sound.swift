import SoundSupport
import SwanMedia
import Testing

/// Test audio: bursts of a rising tone, different in each tenth of a second.
struct Sound {
    var rate = 48_000
    var channels = 2
    var seconds = 1.0
    /// The offset of the burst in each tenth of a second, which makes every position distinguishable.
    private static let bursts: [ClosedRange<Double>] = [
        0.01...0.05, 0.03...0.09, 0.02...0.04, 0.05...0.08, 0.01...0.07, 0.06...0.095, 0.02...0.06,
    ]

    /// Interleaved.
    var samples: [Float] {
        var samples: [Float] = []
        let count = Int(seconds * Double(rate))
        samples.reserveCapacity(count * channels)
        for index in 0..<count {
            let time = Double(index) / Double(rate)
            let tenth = Int(time * 10)
            let burst = Self.bursts[tenth % Self.bursts.count]
            let frequency = 300 + 170 * Double(tenth % 7)
            let value = burst.contains(time - Double(tenth) / 10) ? wave(frequency * time) : 0
            for _ in 0..<channels { samples.append(value) }
        }
        return samples
    }

    /// A triangle wave at half of full scale.
    private func wave(_ turns: Double) -> Float {
        let part = turns - turns.rounded(.down)
        return Float(abs(part - 0.5) * 2 - 0.5)
    }

    /// Writes a video file with this audio.
    func write(
        to path: String,
        as encoder: String,
        container: String = "matroska",
        start: Double = 0,
        video: Double = 0,
        frames: Int = 25,
        tracks: Int = 1,
        samples other: [Float]? = nil
    ) throws {
        let samples = other ?? samples
        let status = container.withCString { container in
            encoder.withCString { encoder in
                var file = sound_file()
                (file.container, file.encoder) = (container, encoder)
                (file.rate, file.channels) = (Int32(rate), Int32(channels))
                (file.start, file.video, file.frames) = (start, video, Int32(frames))
                file.tracks = Int32(tracks)
                return sound_write(path, &file, samples, Int32(samples.count / channels))
            }
        }
        try #require(status == 0, "\(encoder) in \(container) cannot be written: \(status)")
    }
}

/// The audio as a player would output it.
final class Heard {
    private var heard = sound_heard()

    init(_ path: String) throws {
        let status = sound_read(path, &heard)
        try #require(status == 0, "\(path) cannot be heard: \(status)")
    }

    deinit { sound_free(&heard) }

    /// Mono samples at 8000 per second, starting at the first frame.
    var samples: [Float] {
        Array(UnsafeBufferPointer(start: heard.samples, count: Int(heard.count)))
    }
    /// In seconds since the first frame.
    var end: Double { heard.end }
    var pictures: Double { heard.pictures }
    var rate: Int { Int(heard.rate) }
    var channels: Int { Int(heard.channels) }
    var packets: Int { Int(heard.packets) }
    var digest: UInt64 { heard.digest }
    var codec: String {
        withUnsafeBytes(of: heard.codec) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
    }

    /// Expects the same audio at the same time, for `seconds` from `start`: within a tenth of full scale in
    /// each 10 ms, and within 1 ms.
    func expect(
        like other: Heard,
        from start: Double = 0,
        seconds: Double,
        within tolerance: Double = 0.1,
        location: SourceLocation = #_sourceLocation
    ) {
        let range = Int(start * 8_000)..<Int((start + seconds) * 8_000)
        func part(_ samples: [Float]) -> [Float] {
            range.map { $0 < samples.count ? samples[$0] : 0 }
        }
        let (meant, found) = (part(other.samples), part(samples))
        let lag = sound_lag(meant, found, Int32(range.count), 80)
        #expect(abs(lag) <= 8, "samples late, of 8000 a second", sourceLocation: location)
        let difference = sound_difference(meant, found, Int32(range.count))
        #expect(difference <= tolerance, sourceLocation: location)
    }
}
