import Logging
import SwanCheckpoints
import SwanMedia
import SwanSystem
import SwanThreads
import Synchronization

extension LiveStream {
    /// Starts the window and the output, in this order; the first one is where latency is measured.
    func startOutputs(
        _ source: VideoSource,
        _ plan: StreamPlan,
        _ writer: VideoWriter?,
        styles: KnownStyles?
    ) throws -> [LiveOutput] {
        var outputs: [LiveOutput] = []
        if request.showsWindow { outputs.append(window(source, plan, styles)) }
        if let writer {
            outputs.append(file(source, writer, isMain: outputs.isEmpty))
        } else if let output = request.output {
            outputs.append(try receiver(output, source, plan, isMain: outputs.isEmpty))
        }
        do {
            for output in outputs {
                try output.start(threads) { [threads] in
                    // The stream may be waiting for a frame.
                    if threads.failure != nil { source.close() }
                }
            }
        } catch {
            for output in outputs { output.close(dropping: true) }
            throw error
        }
        return outputs
    }

    private func policy(_ source: VideoSource) -> LiveOutput.Policy {
        source.isLive ? .dropPaced : .waitPaced
    }

    private func window(
        _ source: VideoSource,
        _ plan: StreamPlan,
        _ styles: KnownStyles?
    ) -> LiveOutput {
        let names = styles?.known.map(\.name) ?? []
        let actions = WindowActions(
            digit: { [self] number in
                guard names.indices.contains(number - 1) else { return }
                state.withLock { state in
                    state.chosenPrompt = names[number - 1]
                    state.shownPrompt = names[number - 1]
                }
            },
            pause: { source.isPaused.toggle() },
            close: { [self] in closeWindow() },
            title: { [self] in
                let latency = figures.recentLatency.map { Int($0.p50 * 1_000) }
                let fps = (figures.fps * 10).rounded() / 10
                let figures = source.isPaused ? "paused" : "\(fps) fps, \(latency ?? 0) ms"
                let prompt = state.withLock { $0.shownPrompt }
                return "swan: \(prompt.printable(limit: 60)) (\(figures))"
            }
        )
        let (width, height) = plan.outputSize
        return LiveOutput(
            policy(source),
            rate: rate(source).value,
            capacity: VideoFrame.queueCapacity(width, height),
            figures: figures
        ) { WindowReceiver(width: width, height: height, actions) }
    }

    private func file(_ source: VideoSource, _ writer: VideoWriter, isMain: Bool) -> LiveOutput {
        let rate = rate(source).value
        return LiveOutput(
            .wait,
            rate: rate,
            capacity: VideoFrame.queueCapacity(writer.width, writer.height),
            figures: isMain ? figures : nil
        ) { [self] in
            FileReceiver(writer, rate: rate, keepsTime: source.isLive) { !self.isOver }
        }
    }

    private func receiver(
        _ output: String,
        _ source: VideoSource,
        _ plan: StreamPlan,
        isMain: Bool
    ) throws -> LiveOutput {
        let location = try MediaLocation(output)
        let (width, height) = plan.outputSize
        let rate = rate(source)
        if source.info.hasAudio {
            log.notice("\(location.description): the sound of the input is not sent")
        }
        return LiveOutput(
            policy(source),
            rate: rate.value,
            capacity: VideoFrame.queueCapacity(width, height),
            figures: isMain ? figures : nil
        ) { [request, sending, log] in
            SendingReceiver {
                if case .network(let address) = location, address.isListening {
                    log.notice("\(location.description): waiting for a receiver")
                }
                return try LiveWriter(
                    location,
                    width: width,
                    height: height,
                    frameRate: rate,
                    options: request.sending,
                    cancellation: sending
                )
            }
        }
    }
}
