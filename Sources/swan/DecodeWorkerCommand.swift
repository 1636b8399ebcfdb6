import ArgumentParser
import SwanServer

/// `swan decode-worker`: decodes an upload for `swan serve`, in a process that can do nothing else.
struct DecodeWorkerCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "decode-worker",
        abstract: "Decode standard input for 'swan serve'.",
        shouldDisplay: false
    )

    @Option(name: .customLong("picture-pixels")) var picturePixels: Int
    @Option(name: .customLong("video-pixels")) var videoPixels: Int
    @Option var frames: Int
    @Option var memory: Int
    @Option var seconds: Int
    @Option var rate: Double?
    @Flag(name: .customLong("inspect")) var onlyInspects = false

    func run() throws {
        var task = DecodeWorker.Task()
        task.limits.picturePixels = picturePixels
        task.limits.videoPixels = videoPixels
        task.limits.frames = frames
        task.limits.memoryBytes = memory
        task.limits.processorSeconds = seconds
        task.frameRate = rate
        task.onlyInspects = onlyInspects
        throw ExitCode(DecodeWorker.run(task))
    }
}
