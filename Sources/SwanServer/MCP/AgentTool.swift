import Foundation

/// A tool that agents can call, with the schema of its arguments.
enum AgentTool: String, CaseIterable {
    case start, prompt, parameters, metrics, stop, models, styles
    case grabFrame = "grab_frame"

    /// The tool as `tools/list` shows it.
    var description: JSONValue {
        let (title, text, properties, required) = details
        return [
            "name": .text(rawValue), "title": .text(title), "description": .text(text),
            "inputSchema": [
                "type": "object", "properties": .object(properties),
                "required": .list(required.map { .text($0) }), "additionalProperties": false,
            ],
            "annotations": ["readOnlyHint": .flag(isReadOnly), "openWorldHint": false],
        ]
    }

    private var isReadOnly: Bool {
        switch self {
        case .grabFrame, .metrics, .models, .styles: true
        case .start, .prompt, .parameters, .stop: false
        }
    }

    private typealias Details = (
        title: String, text: String, properties: [String: JSONValue], required: [String]
    )

    private var details: Details {
        switch self {
        case .start: Self.startDetails
        case .prompt:
            (
                "Change the prompt",
                "Change what the stream looks like. Give either one prompt or several with weights.",
                Self.prompts.merging(Self.session) { first, _ in first }
                    .merging(["transition": Self.transition]) { first, _ in first }, []
            )
        case .parameters:
            (
                "Change parameters", "Change settings of a running stream at its next chunk.",
                Self.settings.merging(Self.session) { first, _ in first }.merging([
                    "paused": Self.flag("Whether the source's frames are ignored"),
                    "reset": Self.flag("Forget the past frames"),
                ]) { first, _ in first }, []
            )
        case .grabFrame:
            (
                "Look at the stream",
                "Return the newest restyled frame as a JPEG picture; after a change, the first that has it.",
                Self.session.merging([
                    "wait_seconds": Self.number("How long to wait for it", 0...60, default: 10)
                ]) { first, _ in first }, []
            )
        case .metrics:
            (
                "Measure the stream", "Frame rates, latencies in milliseconds and dropped frames.",
                Self.session, []
            )
        case .stop: ("Stop the stream", "End a stream and free its place.", Self.session, [])
        case .models: ("Describe the model", "The model that restyles, and its limits.", [:], [])
        case .styles:
            (
                "List the styles",
                "The styles that the model knows, and the phrases in a prompt that request each.",
                [:],
                []
            )
        }
    }

    private static var startDetails: Details {
        let side: JSONValue = [
            "type": "integer", "minimum": 16, "maximum": 4096,
            "description":
                "In pixels; without width and height, the output has the shape of the source",
        ]
        let own: [String: JSONValue] = [
            "source": [
                "type": "string", "minLength": 1,
                "description":
                    "A video file, which is played at its rate and repeated, or a picture; relative to the server's folder",
            ],
            "width": side, "height": side,
            "fps": number("The rate at which the source is played; default: its own", 1...120),
        ]
        return (
            "Start a stream", "Restyle a video file or a picture continuously, by a prompt.",
            own.merging(prompts) { first, _ in first }.merging(settings) { first, _ in first },
            ["source"]
        )
    }

    // MARK: - Parts of schemas

    private static let session: [String: JSONValue] = [
        "session": [
            "type": "string",
            "description": "The id that start returned; not needed if there is only one session",
        ]
    ]

    private static let prompts: [String: JSONValue] = [
        "prompt": ["type": "string", "description": "What the output should look like"],
        "prompts": [
            "type": "array", "minItems": 1, "maxItems": 8,
            "description": "Prompts that are mixed by their weights, instead of prompt",
            "items": [
                "type": "object", "required": ["text", "weight"], "additionalProperties": false,
                "properties": [
                    "text": ["type": "string"],
                    "weight": ["type": "number", "minimum": 0, "maximum": 1000],
                ],
            ],
        ],
    ]

    private static let transition: JSONValue = [
        "type": "integer", "minimum": 0, "maximum": 1000, "default": 0,
        "description": "The number of chunks over which the old prompt turns into the new one",
    ]

    private static let settings: [String: JSONValue] = [
        "steps": [
            "type": "integer", "minimum": 1,
            "description": "Use only the first N denoising steps of the model",
        ],
        "noise_scale": number(
            "How much noise is mixed into the input; more changes it more",
            0...1
        ),
        "fixed_noise": flag("Keep the noise scale constant instead of lowering it with motion"),
        "seed": ["type": "integer", "minimum": 0, "description": "The seed of all random numbers"],
        "fit": [
            "type": "string", "enum": ["crop", "pad", "stretch"],
            "description": "How frames with another aspect ratio fit the output",
        ],
    ]

    private static func flag(_ text: String) -> JSONValue {
        ["type": "boolean", "description": .text(text)]
    }

    private static func number(
        _ text: String,
        _ range: ClosedRange<Int>,
        default value: Int? = nil
    ) -> JSONValue {
        var schema: [String: JSONValue] = [
            "type": "number", "minimum": .integer(range.lowerBound),
            "maximum": .integer(range.upperBound), "description": .text(text),
        ]
        schema["default"] = value.map { .integer($0) }
        return .object(schema)
    }
}
