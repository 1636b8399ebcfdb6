import ArgumentParser
import Foundation
import SwanSystem
import SwanMedia
import SwanPipelines

/// Options that describe what a video shows.
struct ContentOptions: ParsableArguments {
    @Option(name: .shortAndLong, parsing: .unconditional, help: "The text prompt.")
    var prompt: String?

    @Option(
        name: .customLong("prompts"),
        help: ArgumentHelp(
            "A file with one prompt per line; generates a video for each.",
            valueName: "file"
        ),
        completion: .file()
    )
    var promptFile: String?

    @Option(
        name: .customLong("negative-prompt"),
        parsing: .unconditional,
        help: "What to avoid; defaults to the model authors' text, \"\" for none."
    )
    var negativePrompt: String?

    @Option(
        name: [.customShort("i"), .customLong("image")],
        help: ArgumentHelp("An image to use as the first frame.", valueName: "file"),
        completion: .file()
    )
    var image: String?

    @Option(
        name: .customLong("last-image"),
        help: ArgumentHelp(
            "An image to use as the last frame, for models that support it.",
            valueName: "file"
        ),
        completion: .file()
    )
    var lastImage: String?

    @Option(
        name: .customLong("control"),
        help: ArgumentHelp("A control video, for VACE models.", valueName: "file"),
        completion: .file()
    )
    var controlVideo: String?

    @Option(
        name: .customLong("mask"),
        help: ArgumentHelp(
            "A mask video for --control, or one picture for all frames: white areas are regenerated.",
            valueName: "file"
        ),
        completion: .file()
    )
    var mask: String?

    @Option(
        name: .customLong("reference"),
        help: ArgumentHelp(
            "An image of something that should appear, for VACE models; repeatable.",
            valueName: "file"
        ),
        completion: .file()
    )
    var references: [String] = []

    @Option(
        name: .customLong("control-scale"),
        parsing: .unconditional,
        help: "The strength of a VACE model's control branch. (default: 1.0)"
    )
    var controlScale: Double?

    @Option(
        name: .customLong("n"),
        parsing: .unconditional,
        help: ArgumentHelp("Generate N videos per prompt, with consecutive seeds.", valueName: "n")
    )
    var variants = 1

    @Option(parsing: .unconditional, help: "The seed of all random numbers.")
    var seed: UInt64 = 0

    func validate() throws {
        guard (prompt == nil) != (promptFile == nil) else {
            throw ValidationError("specify either --prompt or --prompts")
        }
        guard mask == nil || controlVideo != nil else {
            throw ValidationError("--mask requires a control video (--control)")
        }
    }

    /// The files that these options read.
    var files: [String] {
        [promptFile, image, lastImage, controlVideo, mask].compactMap { $0 } + references
    }

    func prompts() throws -> [String] {
        guard let promptFile else { return [prompt ?? ""] }
        let data: Data
        do {
            data = try SmallFile.data(promptFile, atMost: SmallFile.list)
        } catch {
            throw SwanError(
                .noSuchFile,
                "\(error.message); --prompts needs a file with one prompt per line"
            )
        }
        guard let text = String(validating: data, as: UTF8.self) else {
            let number = data.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
                .firstIndex { String(validating: $0, as: UTF8.self) == nil }
            throw SwanError(
                .notText,
                "\(promptFile): is not text (UTF-8) in line \((number ?? 0) + 1)"
            )
        }
        let lines = text.trimmingPrefix("\u{FEFF}")
            .split(whereSeparator: \.isNewline)
            .map { $0.trimmingCharacters(in: .whitespaces) }
            .filter { !$0.isEmpty }
        guard !lines.isEmpty else {
            throw SwanError(.invalidRequest, "\(promptFile): contains no prompts")
        }
        return lines
    }

    /// - Parameter frames: The maximum number of frames to read from a control video.
    func apply(to request: inout GenerationRequest, frames: Int) throws {
        request.settings.negativePrompt = negativePrompt
        request.settings.seed = seed
        request.image = try image.map { try readImage($0) }
        request.lastImage = try lastImage.map { try readImage($0) }
        guard controlVideo != nil || !references.isEmpty || controlScale != nil else { return }
        var control = GenerationRequest.Control()
        control.video = try controlVideo.map { try Self.frames($0, atMost: frames) } ?? []
        control.masks = try mask.map { try Self.frames($0, atMost: frames) } ?? []
        control.references = try references.map { try readImage($0) }
        control.scale = controlScale ?? control.scale
        request.control = control
    }

    /// The first `count` frames of a video, at the frame rate that VACE models were trained on.
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

/// Options for the size and length of a video.
struct ShapeOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "The exact size; input images are resized to cover it and center-cropped.",
            valueName: "WxH"
        )
    )
    var size: SizeArgument?

    @Option(
        help: ArgumentHelp(
            "The approximate number of pixels, with the aspect ratio of the input image.",
            valueName: "480p|720p|WxH"
        )
    )
    var area: AreaArgument?

    @Option(parsing: .unconditional, help: "The number of frames: 4n + 1, such as 81.")
    var frames: Int?

    @Option(parsing: .unconditional, help: "The frame rate; defaults to the model's.")
    var fps: Double?

    func apply(to settings: inout GenerationSettings) {
        settings.size = size.map { .init(width: $0.width, height: $0.height) }
        settings.area = area?.pixels
        settings.frames = frames
    }
}

/// A size such as `832x480`.
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

/// A number of pixels: `480p`, `720p`, or a size.
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
