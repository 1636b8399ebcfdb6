import SwanCheckpoints
import SwanDistributed
import SwanMedia
import SwanSystem
import Synchronization
import Torch

extension LiveStream {
    /// What `--json` writes.
    func summary(
        of source: VideoSource,
        _ plan: StreamPlan,
        _ outputs: [LiveOutput],
        _ model: StreamModel
    ) -> StreamSummary {
        var summary = StreamSummary()
        var live = LiveSummary()
        live.latency = StreamSummary.Latency(figures.latencies)
        live.drops = drops(source, outputs)
        live.framesShown = figures.shown
        summary.live = live
        summary.framesOut = figures.shown
        summary.firstFrameSeconds = figures.firstShown.map { ($0 - start).seconds }
        summary.stages.decode = source.decodeSeconds * 1_000
        summary.peakMemoryBytes = ProcessFacts.peakMemoryBytes
        summary.model = model.name
        summary.device = "\(model.device)"
        summary.dtype = "\(model.dtype)"
        summary.threads = Engine.threads
        summary.ranks = ranks?.world.size
        summary.seed = request.stream.settings.seed
        summary.steps = plan.options.configuration.steps
        (summary.width, summary.height) = plan.outputSize
        summary.frameRate = "\(rate(source))"
        summary.input = source.name
        summary.output = outputs.isEmpty ? "" : outputName
        summary.encoder = outputs.last?.encoder ?? ""
        summary.wasInterrupted = state.withLock { $0.isStopped }
        return summary
    }

    /// The output's name, without passwords and keys.
    private var outputName: String {
        guard let output = request.output else { return LiveStreamRequest.window }
        do throws(SwanError) {
            return try MediaLocation(output).description
        } catch {
            return output
        }
    }
}
