import ArgumentParser
import Foundation
import Logging
import SwanCheckpoints
import SwanMedia
import SwanPipelines
import SwanSystem

/// `swan stream`: a video in, a video restyled by a prompt out.
struct StreamCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "stream",
        abstract: "Restyle a video by a prompt.",
        discussion: """
            The output has as many frames as the input, at its frame rate, in its shape, and with its \
            sound. Without INPUT the video comes from the prompt alone, for which the bundled models \
            were not made.

            EXAMPLES:
              swan stream in.mp4 --prompt "pencil sketch" -o out.mp4
              swan stream in.mp4 --prompt neon --prompt-at 120=sepia -o out.mp4
              swan stream in.mp4 --prompt sepia -o frames/%05d.png --json sum.json
              swan stream --model DIR --prompt "a city" --max-frames 81 -o out.mp4
              ffmpeg -i in.mp4 -f yuv4mpegpipe - \\
                | swan stream - --prompt sepia -o - | ffplay -
            """
    )

    @Argument(help: "The video; - reads YUV4MPEG2 or another container from standard input.")
    var input: String?

    @Option(parsing: .unconditional, help: "What the video should look like.")
    var prompt: String

    @Option(
        name: .shortAndLong,
        parsing: .unconditional,
        help: ArgumentHelp(
            "The output, by its extension: .mp4, .mov (H.264), .mkv (lossless), .y4m, %05d.png; "
                + "- writes YUV4MPEG2 to standard output.",
            valueName: "file"
        )
    )
    var output: String

    @OptionGroup var overwriting: OverwriteOption

    @Option(help: "A bundled model's name or a model's folder (see 'swan models').")
    var model = BundledModels.names[0]

    @Option(
        help: ArgumentHelp(
            "The autoencoder in place of the model's own: 'tiny', the tiny one (taew2_1, taew2_2) in "
                + "the model's folder, several times faster; 'tiny-decoder', its decoder with the "
                + "model's own encoder; or a path of weights.",
            valueName: "name or path"
        )
    )
    var vae: String?

    @Option(
        help: ArgumentHelp("Stream by this file instead of the model's own.", valueName: "yaml")
    )
    var config: String?

    @Option(
        name: .customLong("prompt-at"),
        parsing: .unconditionalSingleValue,
        help: ArgumentHelp(
            "Another prompt from the chunk with a frame on, counted from 0; can be given again.",
            valueName: "frame=text"
        )
    )
    var laterPrompts: [LaterPrompt] = []

    @Option(parsing: .unconditional, help: "Take the first so many of the model's denoising steps.")
    var steps: Int?

    @Option(
        parsing: .unconditional,
        help: "How much noise is mixed into the input, 0 to 1; more changes more."
    )
    var noiseScale: Double?

    @Flag(help: "Keep the noise scale as it is instead of lowering it with motion.")
    var fixedNoise = false

    @Flag(
        name: .customLong("no-stream-batch"),
        help: "Run the steps of a chunk one after the other: less delay, fewer frames a second."
    )
    var withoutStreamBatch = false

    @Option(
        parsing: .unconditional,
        help: ArgumentHelp(
            "The output's height in pixels. Without it the height follows from the input's shape; without "
                + "height and width the output keeps that shape at about the model's number of pixels."
        )
    )
    var height: Int?

    @Option(
        parsing: .unconditional,
        help: "The output's width in pixels. Without it the width follows from the input's shape."
    )
    var width: Int?

    @Option(
        help: """
            How frames of another shape come to --width and --height: crop cuts off what has no room, \
            pad adds black bars, stretch takes them out of shape.
            """
    )
    var fit = FrameFit.crop

    @Option(
        parsing: .unconditional,
        help: "Resample the input to this frame rate; or the rate of a video from text."
    )
    var fps: Double?

    @Option(
        name: .customLong("target-fps"),
        parsing: .unconditional,
        help: "Lengthen chunks when fewer frames a second than this come out."
    )
    var targetFPS: Double?

    @Option(parsing: .unconditional, help: "Stop after so many frames.")
    var maxFrames: Int?

    @Option(parsing: .unconditional, help: "Seed of all random numbers.")
    var seed: UInt64 = 0

    @Option(help: "auto (a GPU if there is one), cpu, cuda or cuda:N.")
    var device = DeviceName(name: "auto")

    @Option(
        help: """
            auto takes what the model asks for, else bfloat16 where the processor or GPU has \
            instructions for it.
            """
    )
    var dtype = WeightType.auto

    @Option(
        parsing: .unconditional,
        help: ArgumentHelp("Write a summary as JSON; - to standard output.", valueName: "file")
    )
    var json: String?

    @Option(help: "How progress is shown; auto is a bar on a terminal, plain lines elsewhere.")
    var progress = ProgressStyle.auto

    func validate() throws {
        guard output != "-" || json != "-" else {
            throw ValidationError("the video and the summary cannot both go to standard output")
        }
        let frames = laterPrompts.map(\.frame)
        guard Set(frames).count == frames.count else {
            throw ValidationError("two of --prompt-at are for the same frame")
        }
        do throws(SwanError) {
            try request.check()
        } catch {
            throw ValidationError(error.message)
        }
    }

    func run() throws {
        LoggingSystem.bootstrap { _ in TerminalLog() }
        let log = Logger(label: "swan")
        var request = request
        var files = request.files
        if let json { files.outputs.append(.file(json)) }
        request.overwrites = try overwriting.permit(files)
        let stream = FileStream(request, log: log)
        let report = try JSONReport(json, replaces: request.overwrites)
        let signals = try StopSignals(stop: { stream.stop() }, abandon: { stream.abandon() })
        var display = ProgressDisplay(progress)
        try ReportedJob(signals: signals, report: report, log: log).run {
            let summary = try stream.run { display.show($0) }
            display.end(summary)
            return try summary.json()
        }
    }

    private var request: FileStreamRequest {
        var request = FileStreamRequest(input: input, output: output, prompt: prompt)
        request.laterPrompts = Dictionary(
            laterPrompts.map { ($0.frame, $0.text) },
            uniquingKeysWith: { first, _ in first }
        )
        request.model = model
        request.vae = vae
        request.configuration = config
        request.steps = steps
        request.noiseScale = noiseScale
        request.fixedNoise = fixedNoise
        request.streamBatch = !withoutStreamBatch
        request.height = height
        request.width = width
        request.fit = fit
        request.frameRate = fps
        request.targetFPS = targetFPS
        request.maxFrames = maxFrames
        request.seed = seed
        request.device = device.name
        request.dtype = dtype.dtype
        return request
    }
}

extension FrameFit: ExpressibleByArgument {}

/// `FRAME=TEXT`
struct LaterPrompt: ExpressibleByArgument {
    let frame: Int
    let text: String

    init?(argument: String) {
        guard let equals = argument.firstIndex(of: "="), let frame = Int(argument[..<equals]),
            frame >= 0
        else { return nil }
        self.frame = frame
        text = String(argument[equals...].dropFirst())
    }
}
