import ArgumentParser
import Foundation
import SwanSystem
import SwanMedia
import SwanPipelines

/// What a video should show.
struct ContentOptions: ParsableArguments {
    @Option(parsing: .unconditional, help: "What the video should show.")
    var prompt: String?

    @Option(
        name: .customLong("prompts"),
        help: ArgumentHelp(
            "A file with a prompt in each line, a video for each.",
            valueName: "file"
        )
    )
    var promptFile: String?

    @Option(
        name: .customLong("negative-prompt"),
        parsing: .unconditional,
        help: "What it should not look like; the authors' text if not given, \"\" for nothing."
    )
    var negativePrompt: String?

    @Option(help: ArgumentHelp("The first frame.", valueName: "file"))
    var image: String?

    @Option(
        name: .customLong("last-image"),
        help: ArgumentHelp("The last frame, for models that take one.", valueName: "file")
    )
    var lastImage: String?

    @Option(
        name: .customLong("control"),
        help: ArgumentHelp("A video that a VACE model follows.", valueName: "file")
    )
    var controlVideo: String?

    @Option(
        name: .customLong("mask"),
        help: ArgumentHelp("White where a VACE model paints anew: a video.", valueName: "file")
    )
    var mask: String?

    @Option(
        name: .customLong("reference"),
        help: ArgumentHelp("What should appear, for VACE; can be given again.", valueName: "file")
    )
    var references: [String] = []

    @Option(
        name: .customLong("control-scale"),
        parsing: .unconditional,
        help: "How strongly the control acts."
    )
    var controlScale = 1.0

    @Option(
        name: .customLong("n"),
        parsing: .unconditional,
        help: ArgumentHelp("Videos for each prompt, with seeds one after another.", valueName: "n")
    )
    var variants = 1

    @Option(parsing: .unconditional, help: "Seed of all random numbers.")
    var seed: UInt64 = 0

    func validate() throws {
        guard (prompt == nil) != (promptFile == nil) else {
            throw ValidationError("give a prompt (--prompt), or a file of them (--prompts)")
        }
        guard mask == nil || controlVideo != nil else {
            throw ValidationError("a mask is for a control video (--control)")
        }
    }

    /// The files that are read.
    var files: [String] {
        [promptFile, image, lastImage, controlVideo, mask].compactMap { $0 } + references
    }

    func prompts() throws -> [String] {
        guard let promptFile else { return [prompt ?? ""] }
        let data: Data
        do {
            data = try SmallFile.data(promptFile, atMost: SmallFile.list)
        } catch {
            throw SwanError(.noSuchFile, "\(error.message); it should be a file of prompts")
        }
        let lines = String(decoding: data, as: UTF8.self)
            .split(whereSeparator: \.isNewline)
            .map { $0.trimmingCharacters(in: .whitespaces) }
            .filter { !$0.isEmpty }
        guard !lines.isEmpty else {
            throw SwanError(.invalidRequest, "\(promptFile): has no prompt in any line")
        }
        return lines
    }

    /// - Parameter frames: how many frames of a control video the generated one can follow.
    func apply(to request: inout GenerationRequest, frames: Int) throws {
        request.negativePrompt = negativePrompt
        request.seed = seed
        request.image = try image.map { try readImage($0) }
        request.lastImage = try lastImage.map { try readImage($0) }
        guard controlVideo != nil || !references.isEmpty else { return }
        var control = GenerationRequest.Control()
        control.video = try controlVideo.map { try Self.frames($0, atMost: frames) } ?? []
        control.masks = try mask.map { try Self.frames($0, atMost: frames) } ?? []
        control.references = try references.map { try readImage($0) }
        control.scale = controlScale
        request.control = control
    }

    /// The frames of a video at the rate that VACE models were trained for, as many as are needed.
    private static func frames(_ path: String, atMost count: Int) throws -> [VideoFrame] {
        let rate = Rational(GenerationRequest.Control.framesPerSecond)
        let reader = try VideoReader(path: path, options: VideoReader.Options(frameRate: rate))
        var frames: [VideoFrame] = []
        while frames.count < count, let frame = try reader.nextFrame() {
            frames.append(frame)
        }
        return frames
    }
}

/// How large and how long a video is.
struct ShapeOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "Exactly this size; given pictures are scaled to cover it and cut.",
            valueName: "WxH"
        )
    )
    var size: SizeArgument?

    @Option(
        help: ArgumentHelp(
            "About this many pixels, in the ratio of the picture given.",
            valueName: "480p|720p|WxH"
        )
    )
    var area: AreaArgument?

    @Option(parsing: .unconditional, help: "Frames of the video: 4n + 1, such as 81.")
    var frames: Int?

    @Option(parsing: .unconditional, help: "Frames a second; the model's own if not given.")
    var fps: Double?

    func apply(to request: inout GenerationRequest) throws {
        request.size = size.map { .init(width: $0.width, height: $0.height) }
        request.area = area?.pixels
        request.frames = frames
    }
}

/// `832x480`
struct SizeArgument: ExpressibleByArgument {
    let width, height: Int

    init?(argument: String) {
        let sides = argument.split(separator: /[x*×]/, omittingEmptySubsequences: false)
        guard sides.count == 2, let width = Int(sides[0]), let height = Int(sides[1]), width > 0,
            height > 0
        else { return nil }
        (self.width, self.height) = (width, height)
    }
}

/// `480p`, `720p`, or the area of a size.
struct AreaArgument: ExpressibleByArgument {
    let pixels: Int

    init?(argument: String) {
        switch argument {
        case "480p": pixels = 832 * 480
        case "720p": pixels = 1_280 * 720
        default:
            guard let size = SizeArgument(argument: argument) else { return nil }
            let (area, overflow) = size.width.multipliedReportingOverflow(by: size.height)
            guard !overflow else { return nil }
            pixels = area
        }
    }
}
