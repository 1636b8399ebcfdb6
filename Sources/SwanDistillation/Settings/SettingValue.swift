import SwanSystem
import SwanDistributed
import Torch
import Yams

/// The value of a key in a file.
struct SettingValue {
    let name: String
    let node: Node

    func text() throws(SwanError) -> String {
        guard let text = node.string, node.scalar != nil else { throw invalid("must be text") }
        return text
    }

    func truth() throws(SwanError) -> Bool {
        guard let truth = node.bool else { throw invalid("must be true or false") }
        return truth
    }

    func integer(in range: ClosedRange<Int>) throws(SwanError) -> Int {
        // The references write large ones as 1e8.
        let whole = node.int ?? node.string.flatMap(Double.init).flatMap { Int(exactly: $0) }
        guard let whole, range.contains(whole) else {
            throw invalid("must be an integer from \(range.lowerBound) to \(range.upperBound)")
        }
        return whole
    }

    func number(in range: ClosedRange<Double>) throws(SwanError) -> Double {
        // YAML 1.1 reads 2e-6, without a decimal point, as text.
        let number = node.float ?? node.string.flatMap(Double.init)
        guard let number, range.contains(number) else {
            throw invalid("must be a number from \(range.lowerBound) to \(range.upperBound)")
        }
        return number
    }

    func integers() throws(SwanError) -> [Int] {
        guard let items = node.sequence else { throw invalid("must be a list of integers") }
        return try items.map { item throws(SwanError) in
            guard let whole = item.int else { throw invalid("must be a list of integers") }
            return whole
        }
    }

    func choice<Choice: RawRepresentable<String> & CaseIterable>(
        of type: Choice.Type = Choice.self
    ) throws(SwanError) -> Choice {
        guard let choice = node.string.flatMap(Choice.init(rawValue:)) else {
            let names = Choice.allCases.map(\.rawValue).joined(separator: ", ")
            throw invalid("must be one of \(names)")
        }
        return choice
    }

    /// Reads how weights are divided, by the names of PyTorch's strategies.
    func sharding() throws(SwanError) -> Sharding {
        switch try text() {
        case "full": return .full
        case "hybrid_full", "hybrid_zero2": return .hybrid
        case "no_shard": return .none
        default: throw invalid("must be one of full, hybrid_full, hybrid_zero2, no_shard")
        }
    }

    /// Throws unless the value says that the whole model is trained, or that it is not.
    func requireTrained(_ isTrained: Bool) throws(SwanError) {
        let keys = node.mapping?.keys.compactMap(\.string) ?? []
        guard keys == ["model"], node.mapping?.values.first?.bool == isTrained else {
            throw invalid("must be {model: \(isTrained)}: the roles of the networks are fixed")
        }
    }

    func invalid(_ message: String) -> SwanError {
        SwanError(.invalidRecipe, "\(name): \(message)")
    }
}

extension SettingValue {
    /// Reads a list of texts, or one.
    func texts() throws(SwanError) -> [String] {
        guard let items = node.sequence else { return [try text()] }
        return try items.map { item throws(SwanError) in
            guard let text = item.string else { throw invalid("must be a list of texts") }
            return text
        }
    }

    /// Reads the name of a dtype that a network can compute in.
    func dtype() throws(SwanError) -> DType {
        switch try text() {
        case "float32", "fp32": return .float32
        case "bfloat16", "bf16": return .bfloat16
        case "float16", "fp16": return .float16
        default: throw invalid("must be one of float32, bfloat16, float16")
        }
    }
}
