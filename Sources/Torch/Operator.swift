import CTorch
public import SwanSystem

/// A libtorch operator, found by name and called through the dispatcher.
///
/// A call passes the arguments in the order of the operator's schema; trailing arguments that are
/// omitted have the schema's defaults.
public struct Operator: Sendable {
    nonisolated(unsafe) private let handle: ct_operator?
    private let failure: SwanError?

    /// Creates the operator `name` ("aten::add") with the overload `overload` ("Tensor").
    ///
    /// If libtorch has no such operator, the first call throws.
    public init(_ name: String, _ overload: String = "") {
        var error = ct_error()
        handle = ct_operator_find(name, overload, &error)
        failure = handle == nil ? SwanError(taking: &error) : nil
    }

    /// Calls the operator and returns its only tensor.
    @inlinable
    public func callAsFunction<each Argument: OperatorArgument>(
        _ arguments: repeat each Argument
    ) throws(SwanError) -> Tensor {
        var list = ArgumentList()
        repeat (each arguments).append(to: &list)
        defer { withExtendedLifetime((repeat each arguments)) {} }
        return try call(&list)
    }

    /// Calls the operator and returns all results that are tensors.
    @inlinable
    public func tensors<each Argument: OperatorArgument>(
        _ arguments: repeat each Argument
    ) throws(SwanError) -> [Tensor] {
        var list = ArgumentList()
        repeat (each arguments).append(to: &list)
        defer { withExtendedLifetime((repeat each arguments)) {} }
        return try callForAll(&list)
    }

    /// Calls the operator for its effect on one of its arguments.
    @inlinable
    public func run<each Argument: OperatorArgument>(
        _ arguments: repeat each Argument
    ) throws(SwanError) {
        var list = ArgumentList()
        repeat (each arguments).append(to: &list)
        defer { withExtendedLifetime((repeat each arguments)) {} }
        try callForEffect(&list)
    }

    @usableFromInline
    func call(_ list: inout ArgumentList) throws(SwanError) -> Tensor {
        var result = ct_value()
        guard try invoke(&list, &result, 1) == 1, result.kind == CT_TENSOR,
            let pointer = result.pointer
        else {
            throw SwanError(.invalidArgument, "the operator did not return a single tensor")
        }
        return Tensor(result: pointer)
    }

    @usableFromInline
    func callForEffect(_ list: inout ArgumentList) throws(SwanError) {
        var results = (ct_value(), ct_value())
        try withUnsafeMutableBytes(of: &results) { bytes throws(SwanError) in
            guard let values = bytes.bindMemory(to: ct_value.self).baseAddress else { return }
            for index in 0..<(try invoke(&list, values, 2)) where values[index].kind == CT_TENSOR {
                _ = values[index].pointer.map(Tensor.init(result:))
            }
        }
    }

    @usableFromInline
    func callForAll(_ list: inout ArgumentList) throws(SwanError) -> [Tensor] {
        let capacity = 2_048
        let results = UnsafeMutablePointer<ct_value>.allocate(capacity: capacity)
        defer { results.deallocate() }
        let count = try invoke(&list, results, capacity)
        return (0..<count).compactMap { index in
            guard results[index].kind == CT_TENSOR else { return nil }
            return results[index].pointer.map(Tensor.init(result:))
        }
    }

    private func invoke(
        _ list: inout ArgumentList,
        _ results: UnsafeMutablePointer<ct_value>,
        _ capacity: Int
    ) throws(SwanError) -> Int {
        defer { list.free() }
        guard let handle else { throw failure ?? SwanError(.missingOperator, "no operator") }
        var error = ct_error()
        var count: Int32 = 0
        let done = list.withValues { values, valueCount in
            ct_operator_call(handle, values, valueCount, results, Int32(capacity), &count, &error)
        }
        guard done else { throw SwanError(taking: &error) }
        return Int(count)
    }
}

extension Tensor {
    /// Takes ownership of the tensor behind a result's untyped pointer.
    fileprivate init(result pointer: UnsafeRawPointer) {
        self.init(owning: ct_tensor(pointer))
    }
}

/// The arguments of one call in the C interface's form, with tensors borrowed from the caller.
///
/// It is stored on the stack with room for short lists, so that most calls allocate nothing.
public struct ArgumentList {
    private var values = InlineValues()
    private var count = 0
    private var words = InlineWords()
    private var wordCount = 0
    /// A bit for every argument whose elements are in `words`; its integer is their index.
    private var inWords: UInt32 = 0
    /// The last list that did not fit; each starts with the address of the previous one.
    private var longLists: UnsafeMutableRawPointer?

    /// Creates an empty list.
    public init() {}

    mutating func append(_ kind: ct_kind, integer: Int64) {
        var value = ct_value()
        value.kind = kind
        value.integer = integer
        add(value)
    }

    mutating func append(real: Double) {
        var value = ct_value()
        value.kind = CT_DOUBLE
        value.real = real
        add(value)
    }

    mutating func append(_ kind: ct_kind, pointer: UnsafeRawPointer?) {
        var value = ct_value()
        value.kind = kind
        value.pointer = pointer
        add(value)
    }

    /// Adds a list whose elements `fill` writes to memory that lasts until the call is over.
    mutating func append(
        _ kind: ct_kind,
        count: Int,
        byteCount: Int,
        _ fill: (UnsafeMutableRawPointer) -> Void
    ) {
        var value = ct_value()
        value.kind = kind
        value.count = Int32(count)
        let size = (byteCount + 7) / 8
        if wordCount + size <= InlineWords.capacity {
            let start = wordCount * 8
            withUnsafeMutableBytes(of: &words) { bytes in
                if let base = bytes.baseAddress { fill(base + start) }
            }
            value.integer = Int64(start)
            inWords |= 1 << UInt32(self.count)
            wordCount += size
        } else {
            let memory = UnsafeMutableRawPointer.allocate(byteCount: 16 + byteCount, alignment: 16)
            memory.storeBytes(of: longLists, as: UnsafeMutableRawPointer?.self)
            longLists = memory
            fill(memory + 16)
            value.pointer = UnsafeRawPointer(memory + 16)
        }
        add(value)
    }

    /// Adds the list of `word` applied to `elements`, eight bytes each.
    mutating func append<Element, Word>(
        _ kind: ct_kind,
        words elements: [Element],
        _ word: (Element) -> Word
    ) {
        append(kind, count: elements.count, byteCount: elements.count * 8) { memory in
            let target = memory.assumingMemoryBound(to: Word.self)
            for (index, element) in elements.enumerated() {
                (target + index).initialize(to: word(element))
            }
        }
    }

    private mutating func add(_ value: ct_value) {
        precondition(
            count < InlineValues.capacity,
            "an operator call with over \(InlineValues.capacity) arguments"
        )
        withUnsafeMutableBytes(of: &values) { [count] bytes in
            bytes.storeBytes(
                of: value,
                toByteOffset: count * MemoryLayout<ct_value>.stride,
                as: ct_value.self
            )
        }
        count += 1
    }

    mutating func withValues<R>(_ body: (UnsafePointer<ct_value>, Int32) -> R) -> R {
        let (count, inWords) = (count, inWords)
        return withUnsafeMutablePointer(to: &words) { words in
            withUnsafeMutablePointer(to: &values) { values in
                values.withMemoryRebound(to: ct_value.self, capacity: InlineValues.capacity) {
                    var lists = inWords
                    while lists != 0 {
                        let index = lists.trailingZeroBitCount
                        $0[index].pointer = UnsafeRawPointer(words) + Int($0[index].integer)
                        lists &= lists - 1
                    }
                    return body($0, Int32(count))
                }
            }
        }
    }

    mutating func free() {
        while let memory = longLists {
            longLists = memory.load(as: UnsafeMutableRawPointer?.self)
            memory.deallocate()
        }
    }
}

/// Storage for the arguments of one call; more than any schema of the operators in use.
private struct InlineValues {
    private typealias Four = (ct_value, ct_value, ct_value, ct_value)
    static let capacity = 16
    private var values: (Four, Four, Four, Four)

    init() {
        let four: Four = (ct_value(), ct_value(), ct_value(), ct_value())
        values = (four, four, four, four)
    }
}

/// Storage for the elements of short lists: shapes, strides, a few tensors.
private struct InlineWords {
    private typealias Four = (UInt64, UInt64, UInt64, UInt64)
    static let capacity = 16
    private var words: (Four, Four, Four, Four)

    init() {
        let four: Four = (0, 0, 0, 0)
        words = (four, four, four, four)
    }
}

/// A type that can be passed to an operator.
public protocol OperatorArgument {
    /// Adds the argument to a call.
    func append(to list: inout ArgumentList)
}

extension Tensor: OperatorArgument {
    /// Adds the value as one argument.
    public func append(to list: inout ArgumentList) {
        list.append(CT_TENSOR, pointer: UnsafeRawPointer(handle.raw))
    }
}

extension Optional: OperatorArgument where Wrapped: OperatorArgument {
    /// Adds the value as one argument.
    public func append(to list: inout ArgumentList) {
        switch self {
        case .some(let argument): argument.append(to: &list)
        case .none: list.append(CT_NONE, integer: 0)
        }
    }
}

extension Int: OperatorArgument {
    /// Adds the value as one argument.
    public func append(to list: inout ArgumentList) { list.append(CT_INT, integer: Int64(self)) }
}

extension Double: OperatorArgument {
    /// Adds the value as one argument.
    public func append(to list: inout ArgumentList) { list.append(real: self) }
}

extension Bool: OperatorArgument {
    /// Adds the value as one argument.
    public func append(to list: inout ArgumentList) {
        list.append(CT_BOOL, integer: self ? 1 : 0)
    }
}

extension String: OperatorArgument {
    /// Adds the value as one argument.
    public func append(to list: inout ArgumentList) {
        var text = self
        text.withUTF8 { bytes in
            list.append(CT_STRING, count: bytes.count, byteCount: bytes.count + 1) { memory in
                if let start = bytes.baseAddress {
                    memory.copyMemory(from: start, byteCount: bytes.count)
                }
                memory.storeBytes(of: 0, toByteOffset: bytes.count, as: UInt8.self)
            }
        }
    }
}

extension DType: OperatorArgument {
    /// Adds the value as one argument.
    public func append(to list: inout ArgumentList) {
        list.append(CT_INT, integer: Int64(rawValue))
    }
}

extension Device: OperatorArgument {
    /// Adds the value as one argument.
    public func append(to list: inout ArgumentList) { list.append(CT_DEVICE, integer: packed) }
}

extension MemoryFormat: OperatorArgument {
    /// Adds the value as one argument.
    public func append(to list: inout ArgumentList) {
        list.append(CT_INT, integer: Int64(rawValue))
    }
}

extension Generator: OperatorArgument {
    /// Adds the value as one argument.
    public func append(to list: inout ArgumentList) {
        list.append(CT_GENERATOR, pointer: UnsafeRawPointer(raw))
    }
}

/// An element type of arrays that can be passed to an operator.
public protocol OperatorListElement {
    /// Adds a list of such elements to a call.
    static func append(_ elements: [Self], to list: inout ArgumentList)
}

extension Array: OperatorArgument where Element: OperatorListElement {
    /// Adds the value as one argument.
    public func append(to list: inout ArgumentList) { Element.append(self, to: &list) }
}

extension Int: OperatorListElement {
    /// Adds the elements as one argument.
    public static func append(_ elements: [Int], to list: inout ArgumentList) {
        list.append(CT_INT_LIST, words: elements) { Int64($0) }
    }
}

extension Bool: OperatorListElement {
    /// Adds the elements as one argument.
    public static func append(_ elements: [Bool], to list: inout ArgumentList) {
        list.append(CT_BOOL_LIST, words: elements) { Int64($0 ? 1 : 0) }
    }
}

extension Double: OperatorListElement {
    /// Adds the elements as one argument.
    public static func append(_ elements: [Double], to list: inout ArgumentList) {
        list.append(CT_DOUBLE_LIST, words: elements) { $0 }
    }
}

extension Tensor: OperatorListElement {
    /// Adds the elements as one argument.
    public static func append(_ elements: [Tensor], to list: inout ArgumentList) {
        list.append(CT_TENSOR_LIST, words: elements) { Optional($0.handle.raw) }
    }
}

extension Optional: OperatorListElement where Wrapped == Tensor {
    /// Adds the elements as one argument.
    public static func append(_ elements: [Tensor?], to list: inout ArgumentList) {
        list.append(CT_OPTIONAL_TENSOR_LIST, words: elements) { $0?.handle.raw }
    }
}

/// The memory layout of a tensor's elements. Raw values are libtorch's `MemoryFormat`.
public enum MemoryFormat: Int32, Sendable {
    case contiguous = 0
    case preserve = 1
    case channelsLast = 2
    case channelsLast3d = 3
}
