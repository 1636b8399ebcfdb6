/// Turns the parts built by an unpickler into a tree. Shared parts are converted once.
struct PickleTree {
    private let parts: Unpickler.Parts
    private var done: [PickledValue?]
    private var open: Set<Int> = []
    /// The number of bytes that further tensors of the tree may have.
    private var bytesLeft: Int
    /// The number of characters that further keys of dictionaries may have.
    private var charactersLeft: Int

    private static let deepest = 64
    private static let longestKey = 2_000

    /// - Parameters:
    ///   - tensorBytes: The maximum size of all tensors together. Views of one storage can share
    ///     it: a file of a few bytes can describe any number of tensors.
    ///   - keyBytes: The maximum size of all keys together.
    init(_ parts: Unpickler.Parts, tensorBytes: Int, keyBytes: Int) {
        self.parts = parts
        done = Array(repeating: nil, count: parts.nodes.count)
        bytesLeft = tensorBytes
        charactersLeft = keyBytes
    }

    mutating func value(_ item: Unpickler.Item) throws(Unpickler.Failure) -> PickledValue {
        switch item {
        case .none: return .none
        case .bool(let value): return .bool(value)
        case .integer(let value): return .integer(value)
        case .real(let value): return .real(value)
        case .text(let index): return .text(parts.texts[index])
        case .bytes: return .named("bytes")
        case .global(let global): return .named(global.name)
        case .storage: return .named("storage")
        case .tensor(let index): return .tensor(try tensor(index))
        case .device(let index): return .named("torch.device \(parts.texts[index])")
        case .node(let index): return try value(at: index)
        }
    }

    private mutating func tensor(_ index: Int) throws(Unpickler.Failure) -> ArchivedTensor {
        let tensor = parts.tensors[index]
        bytesLeft -= min(tensor.byteCount, bytesLeft + 1)
        guard bytesLeft >= 0 else {
            throw failure(
                "has tensors that share elements, such as one of shape \(tensor.shape) and"
                    + " strides \(tensor.strides): together they far exceed the file in size; save"
                    + " copies of them (tensor.contiguous())"
            )
        }
        return tensor
    }

    private mutating func value(at index: Int) throws(Unpickler.Failure) -> PickledValue {
        if let value = done[index] { return value }
        guard open.count < Self.deepest else { throw failure("is nested too deeply") }
        guard open.insert(index).inserted else { throw failure("contains itself") }
        defer { open.remove(index) }
        let node = parts.nodes[index]
        let value: PickledValue
        if node.kind == .dictionary {
            value = try dictionary(node.items)
        } else {
            var list: [PickledValue] = []
            list.reserveCapacity(node.items.count)
            for item in node.items { list.append(try self.value(item)) }
            value = .list(list)
        }
        done[index] = value
        return value
    }

    private mutating func dictionary(
        _ items: [Unpickler.Item]
    ) throws(Unpickler.Failure) -> PickledValue {
        var members: [String: PickledValue] = [:]
        for position in stride(from: 0, to: items.count, by: 2) {
            let key = try key(items[position])
            guard members.updateValue(try value(items[position + 1]), forKey: key) == nil else {
                throw failure("has a dictionary with the key \(key) twice")
            }
        }
        return .dictionary(members)
    }

    private mutating func key(_ item: Unpickler.Item) throws(Unpickler.Failure) -> String {
        switch item {
        case .text(let index):
            let key = parts.texts[index]
            charactersLeft -= key.utf8.count
            guard key.utf8.count <= Self.longestKey, charactersLeft >= 0 else {
                throw failure("has a dictionary with keys too long for names of weights")
            }
            return key
        case .integer(let integer): return String(integer)
        case .bool(let bool): return String(bool)
        case .real(let real): return String(real)
        case .none: return "none"
        default: throw failure("has a dictionary with a key that is neither text nor a number")
        }
    }

    private func failure(_ what: String) -> Unpickler.Failure { .init(what: what, offset: 0) }
}
