import HTTPTypes
import SwanCheckpoints
import SwanHTTP
import SwanMedia
import SwanPipelines
import SwanSystem

/// How a job restyles its input: everything that is known before frames are decoded.
struct RestylePlan {
    let options: StreamOptions
    let frameRate: Rational
    /// The number of frames to make; nil for as many as the input has.
    let frames: Int?
    /// The expected number of frames.
    let expectedFrames: Int?

    /// - Throws: `APIError` for what the model or the limits do not permit.
    init(
        _ request: JobRequest,
        _ info: UploadInfo,
        _ model: StreamModel,
        _ limits: JobLimits,
        outputPixels: Int
    ) throws {
        do {
            var settings = request.stream
            if let size = request.size {
                guard settings.width == nil, settings.height == nil else {
                    throw APIError.invalid("size", "is given in the settings, too")
                }
                (settings.width, settings.height) = (size.width, size.height)
            }
            try Self.require(settings, multipleOf: model.sizeMultiple)
            var options = try StreamOptions(model.configuration, settings)
            options.setSize(
                for: FrameShape(
                    width: info.width,
                    height: info.height,
                    pixelAspect: info.pixelAspect
                ),
                multiple: model.sizeMultiple,
                width: settings.width,
                height: settings.height,
                fit: settings.fit
            )
            self.options = options
        } catch let error as SwanError {
            throw APIError(.badRequest, "invalid_value", error.message, parameter: "settings")
        }
        let size = (options.outputWidth ?? options.width, options.outputHeight ?? options.height)
        guard size.0 * size.1 <= outputPixels else {
            throw APIError.invalid("size", "an output has at most \(outputPixels) pixels")
        }
        let own = info.isPicture ? model.configuration.fps ?? 16 : info.frameRate.value
        frameRate = Rational(request.frameRate ?? own) ?? .one
        frames = Self.frames(request, info, frameRate)
        let found = info.isPicture ? nil : Self.resampled(info, frameRate)
        expectedFrames = [frames, found].compactMap { $0 }.min()
        guard expectedFrames ?? 0 <= limits.decoding.frames else {
            throw APIError(
                .unprocessableContent,
                "too_many_frames",
                "The video has about \(expectedFrames ?? 0) frames, but a job has at most "
                    + "\(limits.decoding.frames); ask for fewer with max_frames or seconds.",
                parameter: "input_reference"
            )
        }
    }

    /// The output's size.
    var size: JobRequest.Size {
        JobRequest.Size(
            width: options.outputWidth ?? options.width,
            height: options.outputHeight ?? options.height
        )
    }

    /// A picture lasts four seconds unless the request says how long, as in other services.
    private static let pictureSeconds = 4.0

    private static func frames(
        _ request: JobRequest,
        _ info: UploadInfo,
        _ rate: Rational
    ) -> Int? {
        let isOpen = request.seconds == nil && request.maxFrames == nil
        let seconds = request.seconds ?? (info.isPicture && isOpen ? pictureSeconds : nil)
        let wanted = seconds.map { max(1, Int(($0 * rate.value).rounded())) }
        return [wanted, request.maxFrames].compactMap { $0 }.min()
    }

    /// The number of frames that a video has at another rate. An input that is resampled already has that rate.
    private static func resampled(_ info: UploadInfo, _ rate: Rational) -> Int? {
        guard let frames = info.frames else { return nil }
        let resampled = Double(frames) * rate.value / info.frameRate.value
        // Less than a thousandth of a frame is the rounding of rates.
        return Int(min((resampled - 1e-3).rounded(.up), Double(Int32.max)))
    }

    private static func require(_ settings: StreamSettings, multipleOf multiple: Int) throws {
        for (name, side) in [("width", settings.width), ("height", settings.height)] {
            guard let side else { continue }
            guard side >= multiple, side % multiple == 0 else {
                throw APIError.invalid(
                    "size",
                    "the \(name) must be a multiple of \(multiple), not \(side)"
                )
            }
            guard side <= FrameSize.largestSide else {
                throw APIError.invalid(
                    "size",
                    "the \(name) must be at most \(FrameSize.largestSide), not \(side)"
                )
            }
        }
    }
}
