public import ArgumentParser
import Foundation
import Logging
import SwanCheckpoints
import SwanDistributed
import SwanMedia
import SwanPipelines
import SwanSystem
import Torch

/// `swan stream`: restyles a video from a prompt.
struct StreamCommand: RankedCommand, LoggedCommand {
    static let configuration = CommandConfiguration(
        commandName: "stream",
        abstract: "Restyle a video from a prompt.",
        usage: "swan stream [<options>] [<input>] --prompt <prompt> --output <file>",
        discussion: """
            The output keeps the input's number of frames, frame rate, aspect ratio and sound. Without \
            INPUT, the video is generated from the prompt alone, which the bundled model does not support.

            Cameras, screens and URLs are live: frames are dropped if there is no time for them.
              from: /dev/video0, screen:, rtsp, rtmp, srt, udp, tcp and http URLs (HLS)
              to: --show (a window), /dev/video1 (v4l2loopback), rtmp, rtsp, srt, udp, tcp

            EXAMPLES:
              swan stream in.mp4 --prompt "pencil sketch" -o out.mp4
              swan stream in.mp4 --prompt neon --prompt-at 2.5s=sepia -o out.mp4
              swan stream in.mp4 --prompt sepia -o frames/%05d.png --json sum.json
              swan stream 'frames/*.jpg' --prompt sepia --fps 24 -o out.webm
              swan stream one.mp4 two.mp4 --prompt sepia -o restyled/
              swan stream --model DIR --prompt "a city" --max-frames 81 -o out.mp4
              swan stream in.mp4 --prompt sepia --lora look.safetensors=0.8 -o out.mp4
              ffmpeg -i in.mp4 -f yuv4mpegpipe - \\
                | swan stream - --prompt sepia -o - | ffplay -
              swan stream /dev/video0 --prompt neon --show
              swan stream rtsp://camera/stream --prompt neon -o srt://:9000?listen
              swan launch --nproc 2 -- stream in.mp4 --prompt neon -o out.mp4
            """
    )

    @Argument(
        help: """
            The input: a video or a picture; a folder of pictures, or a pattern such as frames/%05d.png \
            or 'frames/*.jpg'; - reads a video from standard input. Several inputs, or a folder of \
            videos, go to a folder. Or a live source, see above.
            """,
        completion: .file()
    )
    var input: [String] = []

    @Option(
        name: [.customShort("i"), .customLong("input")],
        parsing: .unconditionalSingleValue,
        help: ArgumentHelp("An input, as an option; repeatable.", valueName: "input"),
        completion: .file()
    )
    var inputOptions: [String] = []

    @Option(
        name: .shortAndLong,
        parsing: .unconditional,
        help: "The text prompt that describes the style.",
        completion: Completions.prompt
    )
    var prompt: String

    @Option(
        name: .shortAndLong,
        parsing: .unconditional,
        help: ArgumentHelp(
            "The output: .mp4, .mov (H.264), .mkv (lossless), .webm, .avi, .gif, .y4m, pictures "
                + "(frames/%05d.png, or a folder ending in /) or one picture; - writes YUV4MPEG2 to "
                + "standard output. Or a live receiver, see above.",
            valueName: "file"
        ),
        completion: .file()
    )
    var output: String?

    @Option(
        help: ArgumentHelp(
            "The format of the output, if its name does not tell: mkv, webm, png, null, …",
            valueName: "name"
        )
    )
    var format: String?

    @OptionGroup var overwriting: OverwriteOption

    @OptionGroup var dryRun: DryRunOption

    @OptionGroup var loading: StreamingModelOptions

    @Option(
        name: .customLong("prompt-at"),
        parsing: .unconditionalSingleValue,
        help: ArgumentHelp(
            "Change the prompt, starting with the chunk that contains this frame (from 0) or time, such as "
                + "120, 2.5s, 1m30s or 00:01:30; repeatable.",
            valueName: "frame|time=text"
        )
    )
    var promptChanges: [PromptChange] = []

    @Option(parsing: .unconditional, help: "Use only the first N denoising steps of the model.")
    var steps: Int?

    @Flag(
        name: .customLong("zero-step"),
        inversion: .prefixedNo,
        help: "Without an input, run timestep 0 as a last step; the default is the model's."
    )
    var zeroStep: Bool?

    @Option(
        parsing: .unconditional,
        help:
            "The amount of noise to mix into the input, 0 to 1; more noise changes the input more."
    )
    var noiseScale: Double?

    @Flag(help: "Keep the noise scale constant instead of lowering it with motion.")
    var fixedNoise = false

    @Option(
        parsing: .unconditional,
        help: """
            Whether to look for cuts in the input ('auto'), so that nothing of the old scene shows in the             new one, or not ('off').
            """
    )
    var cuts = StreamSettings.Cuts.auto

    @Flag(
        name: .customLong("no-stream-batch"),
        help:
            "Run the denoising steps of a chunk one after the other: less latency, fewer frames per second."
    )
    var withoutStreamBatch = false

    @Option(
        parsing: .unconditional,
        help: """
            The output height in pixels. The default follows from the input's aspect ratio; without height \
            and width, the output has about as many pixels as the model's native size.
            """
    )
    var height: Int?

    @Option(
        parsing: .unconditional,
        help: "The output width in pixels. The default follows from the input's aspect ratio."
    )
    var width: Int?

    @Option(
        help: """
            How to fit frames with another aspect ratio into --width and --height: crop the edges, pad \
            with black bars, or stretch.
            """
    )
    var fit = FrameFit.crop

    @Option(
        parsing: .unconditional,
        help:
            "Resample the input to this frame rate; without an input, the frame rate of the output."
    )
    var fps: Double?

    @Option(
        name: .customLong("target-fps"),
        parsing: .unconditional,
        help: "Use longer chunks when the output falls below this frame rate."
    )
    var targetFPS: Double?

    @Option(parsing: .unconditional, help: "Stop after N frames.")
    var maxFrames: Int?

    @Option(parsing: .unconditional, help: "The seed of all random numbers.")
    var seed: UInt64 = 0

    @Option(
        parsing: .unconditional,
        help: ArgumentHelp(
            "Write a JSON summary to this file, or to standard output for -.",
            valueName: "file"
        )
    )
    var json: String?

    @Option(help: "How to show progress; auto is a bar on a terminal and plain lines otherwise.")
    var progress = ProgressStyle.auto

    var messageFormat: Terminal.Format { progress == .json ? .json : .text }

    @OptionGroup var live: LiveOptions

    @OptionGroup var ranked: StagedStreamOptions

    @Option(help: SettingsOption.help, completion: .file(extensions: ["yaml", "yml"]))
    var settings: String?

    @OptionGroup var logging: LogOptions

    mutating func validate() throws {
        input += inputOptions
        guard output != nil || live.show else {
            let last = input.count > 1 ? input.last.map { " (did you mean -o \($0)?)" } : nil
            throw ValidationError("Missing expected argument '--output <file>'\(last ?? "")")
        }
        guard output != "-" || json != "-" else {
            throw ValidationError("the video and the summary cannot both go to standard output")
        }
        guard Set(promptChanges.map(\.position)).count == promptChanges.count else {
            throw ValidationError("--prompt-at is given twice for the same frame or time")
        }
        do throws(SwanError) {
            if let liveRequest = try liveRequest {
                try liveRequest.check()
            } else {
                try live.requireNone()
                _ = try work
            }
        } catch {
            throw ValidationError(error.message)
        }
    }

    func run() throws {
        let log = Logger(label: "swan")
        let live = try liveRequest
        let work = try live == nil ? work : .one(plainRequest)
        if dryRun.isGiven { return try outline(work, live) }
        let request: FileStreamRequest
        switch work {
        case .one(let one): request = one
        case .several(let like, let jobs): return try stream(jobs, like: like, log)
        }
        guard let launch = try Ranks.launch else {
            try ranked.requireNone()
            if let live { return try stream(live, with: nil, log) }
            return try stream(request, with: nil, log)
        }
        let job = loading.job(on: try launch.device(named: request.device))
        try Ranks.run(job) { world in
            guard let world else { return }
            let ranks = try StagedRanks(world, ranked.staged)
            guard world.rank == 0 else {
                return try serve(world) {
                    if let live { return try LiveStream.serve(live, ranks) }
                    try FileStream.serve(request, ranks)
                }
            }
            if let live { return try stream(live, with: ranks, log) }
            try stream(request, with: ranks, log)
        }
    }

    /// Prints what would be done.
    private func outline(_ work: Work, _ live: LiveStreamRequest?) throws {
        var files = try live?.files() ?? work.files
        if let json, json != "-" { files.outputs.append(.file(json)) }
        try dryRun.permit(files, overwrites: overwriting.isGiven)
        let outlines = try live.map { [try $0.outline()] } ?? work.requests.map { try $0.outline() }
        try dryRun.show(outlines, json: json, progress)
    }

    /// Streams with a live source or receiver, alone or with other ranks.
    private func stream(
        _ request: LiveStreamRequest,
        with ranks: StagedRanks?,
        _ log: Logger
    ) throws {
        try LiveJob(request: request, json: json, progress: progress, log: log, ranks: ranks)
            .run(overwriting)
    }

    /// Streams from file to file, alone or with other ranks.
    private func stream(
        _ request: FileStreamRequest,
        with ranks: StagedRanks?,
        _ log: Logger
    ) throws {
        var request = request
        var files = request.files
        if let json { files.outputs.append(.file(json)) }
        request.overwrites = try overwriting.permit(files)
        let stream =
            try ranks.map { ranks throws(SwanError) in try FileStream(request, ranks, log: log) }
            ?? FileStream(request, log: log)
        let report = try JSONReport(json, replaces: request.overwrites)
        let signals = try StopSignals(stop: { stream.stop() }, abandon: { stream.abandon() })
        var display = ProgressDisplay(progress)
        Engine.sleepWhileWaiting()
        try ReportedJob(signals: signals, report: report, log: log).run {
            let summary = try stream.run { display.show($0) }
            display.end(summary)
            return try summary.json()
        }
    }

    /// Takes part in a stream whose input and output rank 0 has.
    ///
    /// Rank 0 ends the stream, whichever rank got the signal, and the others end with it.
    private func serve(_ world: World, _ takePart: () throws -> Void) throws {
        let signals = try StopSignals(stop: { world.asksToStop() }, abandon: {})
        Engine.sleepWhileWaiting()
        try takePart()
        if let code = signals.exitCode { throw ExitCode(code) }
    }

    /// The request of a live stream; `nil` if the stream goes from a file to a file.
    private var liveRequest: LiveStreamRequest? {
        get throws(SwanError) {
            let isNeeded = try LiveStreamRequest.isNeeded(input: input.first, output: output)
            guard isNeeded || live.show || live.live else { return nil }
            guard input.count < 2 else {
                throw SwanError(.invalidRequest, "a live stream has one input, not \(input.count)")
            }
            return live.applied(to: LiveStreamRequest(plainRequest, output: output))
        }
    }

    private var work: Work {
        get throws(SwanError) {
            var request = plainRequest
            switch try BatchPlan(inputs: input, output: output ?? "", format: format) {
            case .single(let name, let pictures, let output):
                (request.input, request.pictures, request.output) = (name, pictures, output)
                try request.check()
                return .one(request)
            case .several(let jobs):
                for job in jobs { try job.request(like: request).check() }
                return .several(request, jobs)
            }
        }
    }

    /// Streams several files, one after the other.
    private func stream(
        _ jobs: [BatchPlan.Job],
        like request: FileStreamRequest,
        _ log: Logger
    ) throws {
        guard try Ranks.launch == nil else {
            throw SwanError(.invalidRequest, "several ranks stream one input, not \(jobs.count)")
        }
        try ranked.requireNone()
        try BatchRun(request: request, jobs: jobs, json: json, progress: progress, log: log)
            .run(overwriting)
    }

    /// The request for the input and the output as they are given.
    private var plainRequest: FileStreamRequest {
        var request = FileStreamRequest(input: input.first, output: output ?? "", prompt: prompt)
        request.format = format
        for change in promptChanges {
            switch change.position {
            case .frame(let frame): request.laterPrompts[frame] = change.text
            case .seconds(let seconds): request.timedPrompts[seconds] = change.text
            }
        }
        request.model = loading.model
        request.vae = loading.vae
        request.loras = loading.loras.map(\.file)
        request.requiresWholeLoRAs = loading.requiresWholeLoRAs
        request.configuration = loading.config
        request.settings.steps = steps
        request.settings.zeroStep = zeroStep
        request.settings.noiseScale = noiseScale
        request.settings.fixedNoise = fixedNoise
        request.settings.cuts = cuts
        request.settings.streamBatch = !withoutStreamBatch
        request.settings.height = height
        request.settings.width = width
        request.settings.fit = fit
        request.frameRate = fps
        request.settings.targetFPS = targetFPS
        request.maxFrames = maxFrames
        request.settings.seed = seed
        request.device = loading.device.name
        request.dtype = loading.dtype.dtype
        return request
    }
}

extension FrameFit: ExpressibleByArgument {}
extension StreamSettings.Cuts: ExpressibleByArgument {}
