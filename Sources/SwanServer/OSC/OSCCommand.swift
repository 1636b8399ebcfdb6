import SwanPipelines

/// What an OSC message asks for; the table is in docs/serving.md.
enum OSCCommand: Equatable {
    /// A setting that changes at the next chunk.
    case change(StreamChange)
    /// New prompts, of which the first has the weight 1 unless weights are given.
    case prompts([StreamChange.WeightedPrompt])
    /// The weights of the current prompts.
    case weights([Double])
    /// The weight of one of them.
    case weight(index: Int, Double)
    /// The number of chunks over which later prompts come.
    case transition(Int)
    case pause(Bool)

    /// Why a message is no command.
    enum Problem: Error, Equatable {
        case unknownAddress
        case wrongValues
        /// Weights before there are prompts.
        case noPrompts
    }

    /// The names of all commands.
    static let names =
        [
            "prompt", "prompts", "weights", "transition", "steps", "noise", "fixed_noise", "seed",
            "pause", "reset",
        ] + (1...8).map { "weight/\($0)" }

    /// The command of a name with the values of a message. Numbers out of range become the nearest in range.
    init(_ name: String, _ values: [OSCMessage.Value]) throws(Problem) {
        var change = StreamChange()
        switch name {
        case "prompt", "prompts": self = .prompts(try Self.prompts(values))
        case "weights": self = .weights(try Self.weights(values))
        case "transition": self = .transition(min(max(try Self.integer(values), 0), 1_000))
        case "pause": self = .pause(try Self.flag(values))
        case "reset":
            // Buttons send 1 when they are pressed and 0 when they are released.
            change.resets =
                values.isEmpty || values == [.none] ? true : try Self.flag(values)
            self = .change(change)
        case "steps":
            change.steps = max(try Self.integer(values), 1)
            self = .change(change)
        case "noise":
            change.noiseScale = min(max(try Self.number(values), 0), 1)
            self = .change(change)
        case "fixed_noise":
            change.fixedNoise = try Self.flag(values)
            self = .change(change)
        case "seed":
            change.seed = UInt64(max(try Self.integer(values), 0))
            self = .change(change)
        default:
            let parts = name.split(separator: "/")
            guard parts.count == 2, parts[0] == "weight", let index = Int(parts[1]),
                (1...8).contains(index)
            else { throw .unknownAddress }
            self = .weight(index: index - 1, try Self.weights(values)[0])
        }
    }

    // MARK: - Values

    /// Texts, each of which a weight may follow.
    private static func prompts(
        _ values: [OSCMessage.Value]
    ) throws(Problem) -> [StreamChange.WeightedPrompt] {
        var prompts: [StreamChange.WeightedPrompt] = []
        for value in values {
            if case .text(let text) = value {
                // Sessions refuse it, and weights would refer to it all the same.
                guard text.contains(where: { !$0.isWhitespace }) else { throw .wrongValues }
                prompts.append(.init(text))
            } else {
                guard !prompts.isEmpty else { throw .wrongValues }
                prompts[prompts.count - 1].weight = try weights([value])[0]
            }
        }
        guard (1...8).contains(prompts.count), prompts.contains(where: { $0.weight > 0 }) else {
            throw .wrongValues
        }
        return prompts
    }

    private static func weights(_ values: [OSCMessage.Value]) throws(Problem) -> [Double] {
        guard (1...8).contains(values.count) else { throw .wrongValues }
        var weights: [Double] = []
        for value in values { weights.append(min(max(try number([value]), 0), 1_000)) }
        return weights
    }

    private static func number(_ values: [OSCMessage.Value]) throws(Problem) -> Double {
        guard values.count == 1 else { throw .wrongValues }
        switch values[0] {
        case .integer(let integer): return Double(integer)
        case .number(let number) where number.isFinite: return number
        default: throw .wrongValues
        }
    }

    private static func integer(_ values: [OSCMessage.Value]) throws(Problem) -> Int {
        if values.count == 1, case .integer(let integer) = values[0] { return Int(integer) }
        guard let integer = Int(exactly: try number(values).rounded()) else { throw .wrongValues }
        return integer
    }

    private static func flag(_ values: [OSCMessage.Value]) throws(Problem) -> Bool {
        if values.count == 1, case .flag(let flag) = values[0] { return flag }
        return try number(values) != 0
    }
}
