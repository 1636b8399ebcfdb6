import SwanMedia
import SwanPipelines

/// What a job makes: everything that a client chose. It is stored with the job.
struct JobRequest: Codable, Sendable, Equatable {
    /// The kinds of job.
    enum Kind: String, Codable, Sendable {
        /// A video, or a picture that is repeated, restyled by a streaming model.
        case restyle
        /// A video from text and pictures by a Wan checkpoint.
        case generate
    }

    /// What an uploaded file is for; the name of its field.
    enum Role: String, Codable, Sendable, CaseIterable {
        case input = "input_reference"
        case lastImage = "last_image"
        case control, mask
        case reference = "references"
    }

    /// A later prompt of a restyled video.
    struct LaterPrompt: Codable, Sendable, Equatable {
        let frame: Int
        let prompt: String
    }

    /// A size in pixels.
    struct Size: Codable, Sendable, Equatable {
        let width, height: Int

        /// Parses `832x480`.
        init?(_ text: String) {
            let sides = text.split(separator: "x", omittingEmptySubsequences: false).map { Int($0) }
            guard sides.count == 2, let width = sides[0], let height = sides[1],
                (1...16_384).contains(width), (1...16_384).contains(height)
            else { return nil }
            self.init(width: width, height: height)
        }

        init(width: Int, height: Int) {
            self.width = width
            self.height = height
        }

        var text: String { "\(width)x\(height)" }
    }

    var kind: Kind
    var model: String
    var prompt: String
    /// The length that was asked for, in seconds.
    var seconds: Double?
    /// The size that was asked for.
    var size: Size?
    /// The frame rate that was asked for.
    var frameRate: Double?
    var maxFrames: Int?
    var laterPrompts: [LaterPrompt] = []
    /// The settings of a restyled video, and those of a generated one.
    var stream = StreamSettings()
    var generation = GenerationSettings()
    var controlScale = 1.0
    /// What the uploaded files are for, in order.
    var roles: [Role] = []

    init(kind: Kind, model: String, prompt: String) {
        self.kind = kind
        self.model = model
        self.prompt = prompt
    }
}
