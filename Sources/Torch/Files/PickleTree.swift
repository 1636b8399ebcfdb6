/// Turns what an unpickler built into a tree. Parts that stand in several places are made once.
struct PickleTree {
    private let nodes: [Unpickler.Node]
    private var done: [Int: PickledValue] = [:]
    private var open: Set<Int> = []

    private static let deepest = 64

    init(_ nodes: [Unpickler.Node]) { self.nodes = nodes }

    mutating func value(_ item: Unpickler.Item) throws(Unpickler.Failure) -> PickledValue {
        switch item {
        case .none: return .none
        case .bool(let value): return .bool(value)
        case .integer(let value): return .integer(value)
        case .real(let value): return .real(value)
        case .text(let value): return .text(value)
        case .bytes: return .named("bytes")
        case .global(.dtype(_, let name)): return .named("torch.\(name)")
        case .global(let global): return .named("\(global)")
        case .storage: return .named("storage")
        case .tensor(let tensor): return .tensor(tensor)
        case .named(let name): return .named(name)
        case .node(let index): return try value(at: index)
        }
    }

    private mutating func value(at index: Int) throws(Unpickler.Failure) -> PickledValue {
        if let value = done[index] { return value }
        guard open.count < Self.deepest else { throw failure("is nested too deep") }
        guard open.insert(index).inserted else { throw failure("contains itself") }
        defer { open.remove(index) }
        let node = nodes[index]
        let value: PickledValue
        if node.kind == .dictionary {
            value = try dictionary(node.items)
        } else {
            var list: [PickledValue] = []
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
            let key: String
            switch items[position] {
            case .text(let text): key = text
            case .integer(let integer): key = String(integer)
            case .bool(let bool): key = String(bool)
            case .real(let real): key = String(real)
            case .none: key = "none"
            default: throw failure("has a dictionary with a key that is neither text nor number")
            }
            guard members.updateValue(try value(items[position + 1]), forKey: key) == nil else {
                throw failure("has a dictionary with the key \(key) twice")
            }
        }
        return .dictionary(members)
    }

    private func failure(_ what: String) -> Unpickler.Failure { .init(what: what, offset: 0) }
}
