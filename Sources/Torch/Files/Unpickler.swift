/// Runs the part of Python's pickle language that checkpoints use, and builds nothing but data.
///
/// Lists, tuples and dictionaries are kept in one array and refer to each other by index, so that
/// neither cycles nor depth cost anything before `PickleTree` checks them. Memory is counted: a
/// pickle that needs many times its own size in memory is not a checkpoint.
struct Unpickler {
    /// The problem, and the byte where it occurred.
    struct Failure: Error {
        let what: String
        let offset: Int
    }

    /// A value on the stack. Large values are in `Parts`, referred to by index.
    enum Item {
        case none
        case bool(Bool)
        case integer(Int)
        case real(Double)
        case text(Int)
        case bytes
        case global(PickleGlobal)
        case node(Int)
        case storage(Int)
        case tensor(Int)
        case device(Int)
    }

    /// A container; a dictionary's parts alternate between keys and values.
    struct Node {
        enum Kind { case list, tuple, dictionary }
        let kind: Kind
        var items: [Item]
    }

    /// The values built so far.
    struct Parts {
        fileprivate(set) var nodes: [Node] = []
        fileprivate(set) var texts: [String] = []
        fileprivate(set) var tensors: [ArchivedTensor] = []
        fileprivate var storages: [(range: Range<Int>, dtype: DType?)] = []
    }

    /// The approximate size in bytes of parts, including the spare capacity of arrays and the tree
    /// built from them.
    private enum Cost {
        static let item = 48
        static let node = 64
        static let member = 128
        static let remembered = 128
        static let text = 48
        static let tensor = 320
        static let dimension = 32
    }

    private let file: MappedFile
    private let findStorage: (String) -> Range<Int>?
    private var reader: ByteReader
    private var stack: [Item] = []
    private var marks: [Int] = []
    private var memo: [Int: Item] = [:]
    private(set) var parts = Parts()
    /// The memory in bytes that may still be used.
    private var bytesLeft: Int
    /// The maximum depth of the stack so far.
    private var highest = 0
    /// The position of the operation being run.
    private(set) var position = 0

    /// Checkpoints of PyTorch take about 30 bytes of memory per byte of pickle, at a few hundred
    /// bytes of pickle per tensor; the constant allows for over a hundred thousand tensors.
    static func memory(for count: Int) -> Int { 24 * count + 1 << 26 }

    /// Prepares to read the pickle in `bytes`; `findStorage` returns the bytes of a tensor's
    /// storage in `file`.
    init(
        _ bytes: UnsafeRawBufferPointer,
        in file: MappedFile,
        findStorage: @escaping (String) -> Range<Int>?
    ) {
        self.file = file
        self.findStorage = findStorage
        reader = ByteReader(bytes)
        bytesLeft = Self.memory(for: bytes.count)
    }

    func failure(_ what: String) -> Failure { Failure(what: what, offset: position) }

    private mutating func spend(_ bytes: Int) throws {
        bytesLeft -= bytes
        guard bytesLeft >= 0 else {
            throw failure(
                "has far more small parts than weights do; save only the state_dict"
            )
        }
    }

    /// Runs to the end and returns the result.
    mutating func run() throws(Failure) -> Item {
        do {
            while true {
                position = reader.offset
                let code = try reader.integer(UInt8.self)
                if code == UInt8(ascii: ".") { return try pop() }
                try step(code)
                guard stack.count + marks.count > highest else { continue }
                try spend(Cost.item * (stack.count + marks.count - highest))
                highest = stack.count + marks.count
            }
        } catch let failure as Failure {
            throw failure
        } catch {
            throw failure("ends too early")
        }
    }
}

// MARK: - The stack

extension Unpickler {
    private mutating func pop() throws -> Item {
        guard stack.count > marks.last ?? 0, let item = stack.popLast() else {
            throw failure("pops more from the stack than it contains")
        }
        return item
    }

    private mutating func popToMark() throws -> [Item] {
        guard let mark = marks.popLast() else { throw failure("the stack has no mark") }
        defer { stack.removeSubrange(mark...) }
        return Array(stack[mark...])
    }

    private mutating func pop(_ count: Int) throws -> [Item] {
        var items: [Item] = []
        for _ in 0..<count { items.append(try pop()) }
        return items.reversed()
    }

    private mutating func push(_ kind: Node.Kind, _ items: [Item]) throws {
        guard kind != .dictionary || items.count % 2 == 0 else {
            throw failure("a dictionary with a key and no value")
        }
        try spend(Cost.node + (kind == .dictionary ? Cost.member / 2 : Cost.item) * items.count)
        parts.nodes.append(Node(kind: kind, items: items))
        stack.append(.node(parts.nodes.count - 1))
    }

    /// Appends to the list or dictionary on top of the stack.
    private mutating func extend(_ kind: Node.Kind, by items: [Item]) throws {
        guard stack.count > marks.last ?? 0, case .node(let index)? = stack.last,
            parts.nodes[index].kind == kind, kind != .dictionary || items.count % 2 == 0
        else { throw failure("adds to something that is not a \(kind)") }
        try spend((kind == .dictionary ? Cost.member / 2 : Cost.item) * items.count)
        parts.nodes[index].items += items
    }

    private mutating func remember(_ index: Int) throws {
        guard stack.count > marks.last ?? 0, let item = stack.last else {
            throw failure("memoizes a value from an empty stack")
        }
        if memo.updateValue(item, forKey: index) == nil { try spend(Cost.remembered) }
    }

    private mutating func recall(_ index: Int) throws {
        guard let item = memo[index] else {
            throw failure("refers to memo \(index), which was not stored")
        }
        stack.append(item)
    }
}

// MARK: - The operations

extension Unpickler {
    private mutating func step(_ code: UInt8) throws {
        switch Unicode.Scalar(code) {
        case "\u{80}":
            let version = try reader.integer(UInt8.self)
            guard version <= 5 else { throw failure("pickle protocol \(version) is not supported") }
        case "\u{95}": try reader.skip(8)
        case "(": marks.append(stack.count)
        case "0": _ = try pop()
        case "1": _ = try popToMark()
        case "N": stack.append(.none)
        case "\u{88}": stack.append(.bool(true))
        case "\u{89}": stack.append(.bool(false))
        case "J": stack.append(.integer(Int(try reader.integer(Int32.self))))
        case "K": stack.append(.integer(Int(try reader.integer(UInt8.self))))
        case "M": stack.append(.integer(Int(try reader.integer(UInt16.self))))
        case "\u{8A}": stack.append(try long())
        case "G":
            stack.append(.real(Double(bitPattern: try reader.integer(UInt64.self).byteSwapped)))
        case "X": try pushText(UInt64(try reader.integer(UInt32.self)))
        case "\u{8C}": try pushText(UInt64(try reader.integer(UInt8.self)))
        case "\u{8D}": try pushText(try reader.integer(UInt64.self))
        case "U": try pushText(UInt64(try reader.integer(UInt8.self)))
        case "T": try pushText(UInt64(try reader.integer(UInt32.self)))
        case "B": try pushBytes(UInt64(try reader.integer(UInt32.self)))
        case "C": try pushBytes(UInt64(try reader.integer(UInt8.self)))
        case "\u{8E}", "\u{96}": try pushBytes(try reader.integer(UInt64.self))
        case ")": try push(.tuple, [])
        case "t": try push(.tuple, try popToMark())
        case "\u{85}": try push(.tuple, try pop(1))
        case "\u{86}": try push(.tuple, try pop(2))
        case "\u{87}": try push(.tuple, try pop(3))
        case "]", "\u{8F}": try push(.list, [])
        case "l", "\u{91}": try push(.list, try popToMark())
        case "a": try extend(.list, by: try pop(1))
        case "e", "\u{90}": try extend(.list, by: try popToMark())
        case "}": try push(.dictionary, [])
        case "d": try push(.dictionary, try popToMark())
        case "s": try extend(.dictionary, by: try pop(2))
        case "u": try extend(.dictionary, by: try popToMark())
        case "q": try remember(Int(try reader.integer(UInt8.self)))
        case "r": try remember(Int(try reader.integer(UInt32.self)))
        case "\u{94}": try remember(memo.count)
        case "h": try recall(Int(try reader.integer(UInt8.self)))
        case "j": try recall(Int(try reader.integer(UInt32.self)))
        case "c": try pushGlobal(try text(reader.line()), try text(reader.line()))
        case "\u{93}": try pushStackGlobal()
        case "R": try call()
        case "b": try setState()
        case "Q": try pushStorage()
        default:
            throw failure("the pickle operation 0x\(String(code, radix: 16)) is not supported")
        }
    }

    private func text(_ bytes: Slice<UnsafeRawBufferPointer>) throws -> String {
        guard let text = String(validating: bytes, as: UTF8.self) else {
            throw failure("text is not UTF-8")
        }
        return text
    }

    private mutating func pushText(_ count: UInt64) throws {
        stack.append(.text(try add(text(reader.piece(count)))))
    }

    /// Stores a text and returns its index.
    private mutating func add(_ text: String) throws -> Int {
        try spend(Cost.text + text.utf8.count)
        parts.texts.append(text)
        return parts.texts.count - 1
    }

    private mutating func pushBytes(_ count: UInt64) throws {
        _ = try reader.piece(count)
        stack.append(.bytes)
    }

    /// Reads a two's complement integer; beyond 64 bits precision is lost.
    private mutating func long() throws -> Item {
        let bytes = try reader.piece(try reader.integer(UInt8.self))
        let negative = bytes.last.map { $0 >= 0x80 } ?? false
        guard bytes.count > 8 else {
            let start: UInt64 = negative ? .max : 0
            return .integer(
                Int(bitPattern: UInt(bytes.reversed().reduce(start) { $0 << 8 | UInt64($1) }))
            )
        }
        let magnitude = bytes.reversed().reduce(0.0) { $0 * 256 + Double(negative ? ~$1 : $1) }
        return .real(negative ? -magnitude - 1 : magnitude)
    }

    private mutating func pushGlobal(_ module: String, _ name: String) throws {
        guard let global = PickleGlobal(module: module, name: name) else {
            throw failure(
                "refers to Python's \(module).\(name), not needed for weights; it was not run. If"
                    + " you trust the file, save only its state_dict"
            )
        }
        stack.append(.global(global))
    }

    private mutating func pushStackGlobal() throws {
        let names = try pop(2)
        guard case .text(let module) = names[0], case .text(let name) = names[1] else {
            throw failure("refers to a Python object without a name")
        }
        try pushGlobal(parts.texts[module], parts.texts[name])
    }

    /// Discards the state set after creating an object: attributes of an ordered dictionary, not
    /// needed for weights.
    private mutating func setState() throws {
        _ = try pop()
        guard stack.count > marks.last ?? 0, case .node(let index)? = stack.last,
            parts.nodes[index].kind == .dictionary
        else { throw failure("sets attributes of something that is not a dictionary") }
    }
}

// MARK: - Storages and tensors

extension Unpickler {
    private mutating func popTuple() throws -> [Item] {
        guard case .node(let index) = try pop(), parts.nodes[index].kind == .tuple else {
            throw failure("there is no tuple of arguments")
        }
        return parts.nodes[index].items
    }

    /// `("storage", type, key, location, number of elements)`
    private mutating func pushStorage() throws {
        let fields = try popTuple()
        guard fields.count == 5, case .text(let kind) = fields[0], parts.texts[kind] == "storage",
            case .global(let type) = fields[1], case .text(let name) = fields[2],
            case .integer(let count) = fields[4]
        else { throw failure("the description of a storage is damaged") }
        let key = parts.texts[name]
        // A long name that occurs a million times is looked up each time.
        try spend(Cost.item + key.utf8.count)
        let dtype: DType?
        switch type {
        case .storage(let known): dtype = known
        case .untypedStorage: dtype = nil
        default: throw failure("a storage of an unknown type")
        }
        guard let range = findStorage(key) else {
            throw failure("the storage \(key) is not in the archive")
        }
        guard TensorExtent.byteCount([count], dtype ?? .uint8) == range.count else {
            throw failure(
                "the storage \(key) claims \(count) elements of"
                    + " \(dtype.map { "\($0)" } ?? "a byte"), and has \(range.count) bytes"
            )
        }
        parts.storages.append((range, dtype))
        stack.append(.storage(parts.storages.count - 1))
    }

    private mutating func call() throws {
        let arguments = try popTuple()
        guard case .global(let global) = try pop() else { throw failure("calls something unnamed") }
        switch global {
        case .orderedDictionary where arguments.isEmpty: try push(.dictionary, [])
        case .size where arguments.count == 1: stack.append(arguments[0])
        case .device:
            guard case .text(let name)? = arguments.first else { throw failure("no device") }
            stack.append(.device(name))
        case .rebuildTensor where arguments.count >= 4:
            guard case .storage(let index) = arguments[0],
                let dtype = parts.storages[index].dtype
            else { throw failure("a tensor without a storage") }
            try pushTensor(parts.storages[index].range, dtype, arguments)
        case .rebuildTypedTensor where arguments.count >= 7:
            guard case .storage(let index) = arguments[0],
                case .global(.dtype(let dtype)) = arguments[6]
            else { throw failure("a tensor without a storage or a dtype") }
            try pushTensor(parts.storages[index].range, dtype, arguments)
        case .rebuildParameter where arguments.count >= 1:
            guard case .tensor = arguments[0] else { throw failure("a parameter without a tensor") }
            stack.append(arguments[0])
        default: throw failure("the arguments do not match the called function")
        }
    }

    /// From `(storage, offset, sizes, strides, ...)`.
    private mutating func pushTensor(
        _ range: Range<Int>,
        _ dtype: DType,
        _ arguments: [Item]
    ) throws {
        guard case .integer(let offset) = arguments[1], let shape = integers(arguments[2]),
            let strides = integers(arguments[3])
        else { throw failure("a tensor's offset, shape and strides are damaged") }
        try spend(Cost.tensor + Cost.dimension * shape.count)
        let tensor = ArchivedTensor(
            in: file,
            storage: range,
            dtype,
            offset: offset,
            shape: shape,
            strides: strides
        )
        guard let tensor else {
            throw failure(
                "a tensor\(label) of shape \(shape), strides \(strides) and offset \(offset) does"
                    + " not lie inside its storage of \(range.count / dtype.size) elements"
            )
        }
        parts.tensors.append(tensor)
        stack.append(.tensor(parts.tensors.count - 1))
    }

    /// The key of the tensor being built, if it is in a dictionary.
    private var label: String {
        guard case .text(let index)? = stack.last else { return "" }
        return " (\(parts.texts[index]))"
    }

    private func integers(_ item: Item) -> [Int]? {
        guard case .node(let index) = item, parts.nodes[index].kind == .tuple,
            parts.nodes[index].items.count <= TensorExtent.mostDimensions
        else { return nil }
        var integers: [Int] = []
        for item in parts.nodes[index].items {
            guard case .integer(let integer) = item else { return nil }
            integers.append(integer)
        }
        return integers
    }
}
