import CTorch

/// One operator of libtorch, found by name and called through the dispatcher.
///
/// A call takes the arguments in the order of the operator's schema; those left out at the end take
/// the schema's defaults.
public struct Operator: Sendable {
    nonisolated(unsafe) private let handle: ct_operator?
    private let failure: TorchError?

    /// The operator `name` ("aten::add"), overload `overload` ("Tensor").
    ///
    /// A name that libtorch does not have is reported by the first call.
    public init(_ name: String, _ overload: String = "") {
        var error = ct_error()
        handle = ct_operator_find(name, overload, &error)
        failure = handle == nil ? TorchError(taking: &error) : nil
    }

    /// Calls the operator for its one tensor.
    @inlinable
    public func callAsFunction<each Argument: OperatorArgument>(
        _ arguments: repeat each Argument
    ) throws(TorchError) -> Tensor {
        var list = ArgumentList()
        repeat (each arguments).append(to: &list)
        defer { withExtendedLifetime((repeat each arguments)) {} }
        return try call(&list)
    }

    /// Calls the operator for all of its results that are tensors.
    @inlinable
    public func tensors<each Argument: OperatorArgument>(
        _ arguments: repeat each Argument
    ) throws(TorchError) -> [Tensor] {
        var list = ArgumentList()
        repeat (each arguments).append(to: &list)
        defer { withExtendedLifetime((repeat each arguments)) {} }
        return try callForAll(&list)
    }

    /// Calls the operator for its effect on one of its arguments.
    @inlinable
    public func run<each Argument: OperatorArgument>(
        _ arguments: repeat each Argument
    ) throws(TorchError) {
        var list = ArgumentList()
        repeat (each arguments).append(to: &list)
        defer { withExtendedLifetime((repeat each arguments)) {} }
        try callForEffect(&list)
    }

    @usableFromInline
    func call(_ list: inout ArgumentList) throws(TorchError) -> Tensor {
        var result = ct_value()
        guard try invoke(&list, &result, 1) == 1, result.kind == CT_TENSOR, let pointer = result.pointer
        else {
            throw TorchError(.invalidArgument, "the operator did not give one tensor")
        }
        return Tensor(result: pointer)
    }

    @usableFromInline
    func callForEffect(_ list: inout ArgumentList) throws(TorchError) {
        var results = (ct_value(), ct_value())
        try withUnsafeMutableBytes(of: &results) { bytes throws(TorchError) in
            guard let values = bytes.bindMemory(to: ct_value.self).baseAddress else { return }
            for index in 0..<(try invoke(&list, values, 2)) where values[index].kind == CT_TENSOR {
                _ = values[index].pointer.map(Tensor.init(result:))
            }
        }
    }

    @usableFromInline
    func callForAll(_ list: inout ArgumentList) throws(TorchError) -> [Tensor] {
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
        _ list: inout ArgumentList, _ results: UnsafeMutablePointer<ct_value>, _ capacity: Int
    ) throws(TorchError) -> Int {
        defer { list.free() }
        guard let handle else { throw failure ?? TorchError(.missingOperator, "no operator") }
        var error = ct_error()
        var count: Int32 = 0
        let done = list.withValues { values, valueCount in
            ct_operator_call(handle, values, valueCount, results, Int32(capacity), &count, &error)
        }
        guard done else { throw TorchError(taking: &error) }
        return Int(count)
    }
}

extension Tensor {
    /// The tensor that a result's untyped pointer stands for, with its reference.
    fileprivate init(result pointer: UnsafeRawPointer) {
        self.init(owning: ct_tensor(pointer))
    }
}

/// The arguments of one call, in the C interface's form. Tensors in it are borrowed from the caller.
public struct ArgumentList {
    /// Longer than any schema of the operators in use.
    private static let capacity = 32
    private var storage = InlineValues()
    private var count = 0
    private var owned: [UnsafeMutableRawPointer] = []

    /// An empty list.
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

    mutating func append(_ kind: ct_kind, pointer: UnsafeRawPointer?, count: Int = 0) {
        var value = ct_value()
        value.kind = kind
        value.pointer = pointer
        value.count = Int32(count)
        add(value)
    }

    /// Copies list elements to where they stay until the call is over.
    mutating func append<Element>(_ kind: ct_kind, copying elements: some Collection<Element>) {
        let size = max(1, elements.count) * MemoryLayout<Element>.stride
        let memory = UnsafeMutableRawPointer.allocate(byteCount: size, alignment: 16)
        var next = memory
        for element in elements {
            next.storeBytes(of: element, as: Element.self)
            next += MemoryLayout<Element>.stride
        }
        owned.append(memory)
        append(kind, pointer: memory, count: elements.count)
    }

    private mutating func add(_ value: ct_value) {
        precondition(count < Self.capacity, "an operator call with over \(Self.capacity) arguments")
        storage.set(count, value)
        count += 1
    }

    func withValues<R>(_ body: (UnsafePointer<ct_value>, Int32) -> R) -> R {
        storage.withPointer { body($0, Int32(count)) }
    }

    mutating func free() {
        for memory in owned { memory.deallocate() }
        owned.removeAll()
    }
}

/// Room for the arguments of one call on the stack, so that a call allocates nothing.
private struct InlineValues {
    private typealias Four = (ct_value, ct_value, ct_value, ct_value)
    private var values:
        (Four, Four, Four, Four, Four, Four, Four, Four)

    init() {
        let four: Four = (ct_value(), ct_value(), ct_value(), ct_value())
        values = (four, four, four, four, four, four, four, four)
    }

    mutating func set(_ index: Int, _ value: ct_value) {
        withUnsafeMutableBytes(of: &values) { bytes in
            bytes.storeBytes(
                of: value, toByteOffset: index * MemoryLayout<ct_value>.stride, as: ct_value.self)
        }
    }

    func withPointer<R>(_ body: (UnsafePointer<ct_value>) -> R) -> R {
        withUnsafePointer(to: values) { pointer in
            pointer.withMemoryRebound(to: ct_value.self, capacity: 32) { body($0) }
        }
    }
}

/// What an operator takes.
public protocol OperatorArgument {
    /// Adds the argument to a call.
    func append(to list: inout ArgumentList)
}

extension Tensor: OperatorArgument {
    public func append(to list: inout ArgumentList) {
        list.append(CT_TENSOR, pointer: UnsafeRawPointer(handle.raw))
    }
}

extension Optional: OperatorArgument where Wrapped: OperatorArgument {
    public func append(to list: inout ArgumentList) {
        switch self {
        case .some(let argument): argument.append(to: &list)
        case .none: list.append(CT_NONE, integer: 0)
        }
    }
}

extension Int: OperatorArgument {
    public func append(to list: inout ArgumentList) { list.append(CT_INT, integer: Int64(self)) }
}

extension Double: OperatorArgument {
    public func append(to list: inout ArgumentList) { list.append(real: self) }
}

extension Bool: OperatorArgument {
    public func append(to list: inout ArgumentList) {
        list.append(CT_BOOL, integer: self ? 1 : 0)
    }
}

extension String: OperatorArgument {
    public func append(to list: inout ArgumentList) {
        list.append(CT_STRING, copying: Array(utf8CString))
    }
}

extension DType: OperatorArgument {
    public func append(to list: inout ArgumentList) {
        list.append(CT_INT, integer: Int64(rawValue))
    }
}

extension Device: OperatorArgument {
    public func append(to list: inout ArgumentList) { list.append(CT_DEVICE, integer: packed) }
}

extension MemoryFormat: OperatorArgument {
    public func append(to list: inout ArgumentList) {
        list.append(CT_INT, integer: Int64(rawValue))
    }
}

extension Generator: OperatorArgument {
    public func append(to list: inout ArgumentList) {
        list.append(CT_GENERATOR, pointer: UnsafeRawPointer(raw))
    }
}

/// An element type whose arrays an operator takes.
public protocol OperatorListElement {
    /// Adds a list of such elements to a call.
    static func append(_ elements: [Self], to list: inout ArgumentList)
}

extension Array: OperatorArgument where Element: OperatorListElement {
    public func append(to list: inout ArgumentList) { Element.append(self, to: &list) }
}

extension Int: OperatorListElement {
    public static func append(_ elements: [Int], to list: inout ArgumentList) {
        list.append(CT_INT_LIST, copying: elements)
    }
}

extension Bool: OperatorListElement {
    public static func append(_ elements: [Bool], to list: inout ArgumentList) {
        list.append(CT_BOOL_LIST, copying: elements.map { $0 ? 1 : 0 })
    }
}

extension Double: OperatorListElement {
    public static func append(_ elements: [Double], to list: inout ArgumentList) {
        list.append(CT_DOUBLE_LIST, copying: elements)
    }
}

extension Tensor: OperatorListElement {
    public static func append(_ elements: [Tensor], to list: inout ArgumentList) {
        list.append(CT_TENSOR_LIST, copying: elements.map(\.handle.raw))
    }
}

extension Optional: OperatorListElement where Wrapped == Tensor {
    public static func append(_ elements: [Tensor?], to list: inout ArgumentList) {
        list.append(CT_OPTIONAL_TENSOR_LIST, copying: elements.map { $0?.handle.raw })
    }
}

/// How the elements of a tensor lie in memory. Raw values are libtorch's `MemoryFormat`.
public enum MemoryFormat: Int32, Sendable {
    case contiguous = 0
    case preserve = 1
    case channelsLast = 2
    case channelsLast3d = 3
}
