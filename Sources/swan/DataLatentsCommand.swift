import ArgumentParser
import Foundation
import SwanCheckpoints
import SwanDatasets
import SwanDistributed
import SwanPipelines
import SwanSystem
import SwanThreads
import Torch

/// `swan data latents`: encodes captioned videos.
struct DataLatentsCommand: RankedCommand, LoggedCommand {
    static let configuration = CommandConfiguration(
        commandName: "latents",
        abstract: "Encode captioned videos with a model's autoencoder.",
        discussion: """
            Writes FOLDER/00000000.pt and so on, {caption: latents} each, for 'swan data pack'. Captions come \
            from a JSON file, {"clip.mp4": "a fox"}, or from a text file beside each video of a folder. Files \
            that are newer than their video are kept. Started by 'swan launch', the processes share the videos.

            EXAMPLES:
              swan data latents clips/ latents/ --model Wan2.1-T2V-1.3B --size 832x480 --frames 81
              swan data latents captions.json latents/ --model Wan2.1-T2V-1.3B
            """
    )

    @Argument(help: "The captions: a JSON file, or a folder of videos with text files.")
    var captions: String

    @Argument(help: "The folder for the files.")
    var folder: String

    @OptionGroup(title: "MODEL")
    var loading: ModelLoadingOptions

    @Option(
        help: "The size, which frames are resized to cover, such as 832x480; default: the model's."
    )
    var size: SizeArgument?

    @Option(help: "The number of frames, 4n + 1, at the model's frame rate; default: the model's.")
    var frames: Int?

    @OptionGroup var logging: LogOptions

    func run() throws {
        let videos = try CaptionedVideos(captions)
        let options = try loading.options()
        let job = RankedJob(models: ["--model": loading.model])
        try Ranks.run(job) { world in
            let model = try GenerationModel(loading.model, options: options)
            let encoder = try ClipEncoder(
                model,
                size: size.map { .init(width: $0.width, height: $0.height) },
                frames: frames
            )
            let encoding = try LatentEncoding(videos, to: folder)
            try encode(encoding, encoder, share: (world?.rank ?? 0, world?.size ?? 1))
        }
    }

    private func encode(
        _ encoding: LatentEncoding,
        _ encoder: ClipEncoder,
        share: (rank: Int, size: Int)
    ) throws {
        try DataRun.stoppable { check in
            try encoding.run(encoder, share: share, check: check) { video, outcome in
                let terminal = Terminal.standardError
                switch outcome {
                case .kept: break
                case .encoded: terminal.write(kind: .note, video.path)
                case .tooShort:
                    terminal.write(kind: .warning, "\(video.path): is too short and was left out")
                }
            }
        }
    }
}

/// Work on a folder of files that continues where it was stopped.
enum DataRun {
    /// Runs work until it ends or a signal stops it.
    ///
    /// - Parameter body: Calls its argument regularly and rethrows its error.
    static func stoppable(_ body: (_ check: () throws -> Void) throws -> Void) throws {
        let stop = CancellationFlag()
        let signals = try StopSignals(
            StopSignals.Messages(
                stopping: "stopping; complete files are kept, and the same command continues",
                abandoned: "stopped; complete files are kept"
            ),
            stop: {
                stop.cancel()
                return true
            },
            abandon: {}
        )
        do {
            try body { try stop.check() }
        } catch is CancellationError {
            throw ExitCode(signals.exitCode ?? 1)
        }
    }
}
