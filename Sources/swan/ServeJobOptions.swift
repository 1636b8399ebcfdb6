import ArgumentParser
import Foundation
import SwanHTTP
import SwanPipelines
import SwanServer

/// Options of `swan serve` for jobs: videos that are made from files and prompts.
struct ServeJobOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "Keep jobs (/v1/videos) in this folder; none for no jobs. The default is "
                + "~/.local/state/swan/jobs.",
            valueName: "folder|none"
        )
    )
    var jobs: String?

    @Option(
        name: .customLong("video-model"),
        help: ArgumentHelp(
            "Make videos from text and images, too, with this Wan checkpoint (see 'swan generate').",
            valueName: "folder or file"
        )
    )
    var videoModel: String?

    @Option(
        name: .customLong("max-jobs"),
        parsing: .unconditional,
        help: "The maximum number of jobs that wait or run."
    )
    var maxJobs = 16

    @Option(
        name: .customLong("keep-jobs"),
        parsing: .unconditional,
        help: ArgumentHelp("Delete jobs this long after they are finished.", valueName: "seconds")
    )
    var keepJobs = 86_400

    @Option(name: .customLong("decoder-timeout"), parsing: .unconditional, help: .hidden)
    var decoderTimeout = 20

    func validate() throws {
        guard jobs != "none" || videoModel == nil else {
            throw ValidationError("--video-model makes videos as jobs; leave out --jobs none")
        }
        guard (1...1_000).contains(maxJobs) else {
            throw ValidationError("--max-jobs must be 1 to 1000, not \(maxJobs)")
        }
        guard (1...31_536_000).contains(keepJobs) else {
            throw ValidationError("--keep-jobs must be 1 to 31536000 seconds, not \(keepJobs)")
        }
        guard (1...600).contains(decoderTimeout) else {
            throw ValidationError(
                "--decoder-timeout must be 1 to 600 seconds, not \(decoderTimeout)"
            )
        }
    }

    /// Adds jobs to the options of a server, unless there are none.
    ///
    /// - Parameters:
    ///   - device: The device of all models.
    ///   - dtype: The dtype that all models compute in.
    func apply(to server: inout ServerOptions, device: String, dtype: WeightType) throws {
        guard jobs != "none" else { return }
        var options = JobOptions(folder: jobs ?? Self.defaultFolder)
        options.isOptional = jobs == nil
        if let videoModel {
            var generation = GenerationOptions()
            generation.device = device
            generation.dtype = dtype.dtype
            options.generator = try VideoModel(videoModel, options: generation)
        }
        options.limits.queued = maxJobs
        options.limits.lifetime = .seconds(keepJobs)
        options.limits.decoding.frameTimeout = .seconds(decoderTimeout)
        server.jobs = options
        server.http.limits.uploads = options.uploads
    }

    private static var defaultFolder: String {
        let environment = ProcessInfo.processInfo.environment
        let state = environment["XDG_STATE_HOME"].flatMap { $0.hasPrefix("/") ? $0 : nil }
        return (state ?? NSHomeDirectory() + "/.local/state") + "/swan/jobs"
    }
}
