import SwanCheckpoints
import SwanPipelines

/// What the demo's front end asks for first: how to show itself, and the fields of its form.
struct DemoSettings: Encodable, Sendable {
    let info: Info
    let inputParams: Schema
    let maxQueueSize: Int
    let pageContent: String

    private enum CodingKeys: String, CodingKey {
        case info, inputParams = "input_params", maxQueueSize = "max_queue_size"
        case pageContent = "page_content"
    }

    /// The front end reads the defaults of these properties.
    struct Info: Encodable, Sendable {
        let properties: [String: Constant]

        struct Constant: Encodable, Sendable {
            let `default`: String
            let title: String
            let type = "string"
        }
    }

    /// The fields of the form, by the names of the parameters.
    struct Schema: Encodable, Sendable {
        let type = "object"
        let title = "InputParams"
        let properties: [String: Field]
    }

    /// A field: a parameter and how it is shown.
    struct Field: Encodable, Sendable {
        /// The value of a parameter.
        enum Value: Encodable, Sendable {
            case text(String), number(Double), flag(Bool)

            func encode(to encoder: any Encoder) throws {
                var container = encoder.singleValueContainer()
                switch self {
                case .text(let text): try container.encode(text)
                case .number(let number): try container.encode(number)
                case .flag(let flag): try container.encode(flag)
                }
            }
        }

        let id, title, type: String
        let `default`: Value
        /// How the field is shown; nil for one that is not.
        let field: String?
        let min, max, step: Double?
        /// Whether the field is among the advanced ones.
        let hide: Bool
        let disabled: Bool

        init(
            _ id: String,
            _ title: String,
            _ type: String,
            _ value: Value,
            field: String? = nil,
            hide: Bool = true,
            disabled: Bool = false
        ) {
            (self.id, self.title, self.type, self.default) = (id, title, type, value)
            (self.field, self.hide, self.disabled) = (field, hide, disabled)
            (min, max, step) = (nil, nil, nil)
        }

        /// A slider.
        init(
            _ id: String,
            _ title: String,
            _ value: Double,
            in range: ClosedRange<Double>,
            by step: Double
        ) {
            (self.id, self.title, self.default) = (id, title, .number(value))
            (type, field, hide, disabled) = ("number", "range", true, false)
            (min, max, self.step) = (range.lowerBound, range.upperBound, step)
        }
    }

    /// The settings for a model.
    ///
    /// - Parameters:
    ///   - size: The size of the frames that the front end sends.
    init(_ model: StreamModel, size: (width: Int, height: Int), users: Int, prompt: String) {
        let styles = model.styles?.known.map(\.name) ?? []
        info = Info(properties: [
            "name": .init(default: model.name, title: "Name"),
            "title": .init(default: "Swan", title: "Title"),
            "description": .init(default: "Restyles live video", title: "Description"),
            // The front end then sends a picture with each message.
            "input_mode": .init(default: "image", title: "Input Mode"),
        ])
        inputParams = Schema(properties: Self.fields(model, size, prompt))
        maxQueueSize = users
        let hint = styles.isEmpty ? "" : " Its styles: \(styles.joined(separator: ", "))."
        pageContent = "<h1>Swan</h1><p>The model is \(Self.escaped(model.name + "." + hint))</p>"
    }

    private static func fields(
        _ model: StreamModel,
        _ size: (width: Int, height: Int),
        _ prompt: String
    ) -> [String: Field] {
        let (steps, noise) = (model.configuration.steps.count, model.configuration.noiseScale)
        let fields: [Field] = [
            .init("prompt", "Prompt", "string", .text(prompt), field: "textarea", hide: false),
            .init("steps", "Steps", Double(steps), in: 1...Double(steps), by: 1),
            .init("noise_scale", "Noise", noise, in: 0...1, by: 0.05),
            .init("seed", "Seed", "integer", .number(0), field: "seed"),
            .init("width", "Width", "integer", .number(Double(size.width)), disabled: true),
            .init("height", "Height", "integer", .number(Double(size.height)), disabled: true),
            .init("restart", "Restart", "boolean", .flag(false)),
            .init("input_mode", "Input", "string", .text("camera")),
            .init("upload_mode", "Upload", "boolean", .flag(false)),
        ]
        return Dictionary(fields.map { ($0.id, $0) }, uniquingKeysWith: { first, _ in first })
    }

    /// A text for HTML, which the front end shows as it is.
    private static func escaped(_ text: String) -> String {
        text.replacing("&", with: "&amp;").replacing("<", with: "&lt;").replacing(">", with: "&gt;")
    }
}
