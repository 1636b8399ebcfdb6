import SwanSystem

/// The header of a safetensors file, checked.
struct SafetensorsHeader {
    private(set) var entries: [String: SafetensorsFile.Entry] = [:]
    private(set) var metadata: [String: String] = [:]
    /// The offset of the tensors' bytes.
    let dataStart: Int

    /// The names of the dtypes in the format.
    static let names: [DType: String] = [
        .bool: "BOOL", .uint8: "U8", .int8: "I8", .int16: "I16", .int32: "I32", .int64: "I64",
        .float8e4m3: "F8_E4M3", .float8e5m2: "F8_E5M2", .float16: "F16", .bfloat16: "BF16",
        .float32: "F32", .float64: "F64", .complex64: "C64",
    ]
    private static let dtypes = Dictionary(uniqueKeysWithValues: names.map { ($1, $0) })
    private static let longest = 100_000_000
    /// The largest models have about 100,000 in all of their files.
    private static let mostTensors = 250_000
    private static let longestKey = 2_000
    /// The maximum number of values in the description of one tensor, and in the metadata.
    private static let mostValues = 1 << 16

    init(_ file: MappedFile) throws(SwanError) {
        guard file.count >= 8 else {
            throw file.invalid("is too short for a safetensors file (\(file.count) bytes)")
        }
        dataStart = 8 + (try Self.length(file))
        try read(.init(rebasing: file.bytes[8..<dataStart]), file)
        try checkLayout(file)
        try file.requireWhole()
    }

    /// The length of the header in bytes.
    private static func length(_ file: MappedFile) throws(SwanError) -> Int {
        let length = UInt64(littleEndian: file.bytes.loadUnaligned(as: UInt64.self))
        let begins = file.count > 8 && file.bytes[8] == UInt8(ascii: "{")
        if begins, length <= longest, length > file.count - 8 {
            throw file.cut(needing: 8 + Int(length))
        }
        guard length <= longest, length <= file.count - 8 else {
            let words =
                "the header claims \(length) bytes; the file has \(file.count) and the"
                + " format allows \(longest)"
            throw file.invalid(file.knownOtherKind() ?? words)
        }
        guard length >= 2, begins else {
            throw file.invalid(file.knownOtherKind() ?? "the header is not a JSON object")
        }
        return Int(length)
    }

    private mutating func read(
        _ header: UnsafeRawBufferPointer,
        _ file: MappedFile
    ) throws(SwanError) {
        func damaged(_ failure: StrictJSON.Failure) -> SwanError {
            file.invalid("the header is damaged at byte \(failure.offset): \(failure.what)")
        }
        var members = StrictJSON.Members(header, eachAtMost: Self.mostValues)
        var hasMetadata = false
        while true {
            let member: (key: String, value: StrictJSON)?
            do { member = try members.next() } catch { throw damaged(error) }
            guard let (key, value) = member else { return }
            let isMetadata = key == "__metadata__"
            guard isMetadata ? !hasMetadata : entries[key] == nil else {
                let words = "the key \(StrictJSON.quoted(key)) occurs twice"
                throw damaged(members.failure(words))
            }
            if isMetadata {
                metadata = try Self.metadata(value, file)
                hasMetadata = true
            } else {
                guard entries.count < Self.mostTensors, key.utf8.count <= Self.longestKey else {
                    throw file.invalid(
                        "has more than \(Self.mostTensors) tensors, or one whose name is longer than"
                            + " \(Self.longestKey) bytes"
                    )
                }
                entries[key] = try Self.entry(key, value, file)
            }
        }
    }

    private static func metadata(
        _ value: StrictJSON,
        _ file: MappedFile
    ) throws(SwanError) -> [String: String] {
        guard case .object(let members) = value else {
            throw file.invalid("__metadata__ is not an object")
        }
        var texts: [String: String] = [:]
        for (key, value) in members {
            guard case .string(let text) = value else {
                throw file.invalid("__metadata__ \(key) is not text")
            }
            texts[key] = text
        }
        return texts
    }

    private static func entry(
        _ key: String,
        _ value: StrictJSON,
        _ file: MappedFile
    ) throws(SwanError) -> SafetensorsFile.Entry {
        guard case .object(let members) = value else {
            throw file.invalid("the tensor \(key) is not described by an object")
        }
        let fields = Dictionary(uniqueKeysWithValues: members.map { ($0.key, $0.value) })
        guard case .string(let name)? = fields["dtype"] else {
            throw file.invalid("the tensor \(key) has no dtype")
        }
        guard let dtype = dtypes[name] else {
            let known = dtypes.keys.sorted().joined(separator: " ")
            throw file.invalid("the tensor \(key) has the unknown dtype \(name); known: \(known)")
        }
        guard let shape = integers(fields["shape"]), shape.allSatisfy({ $0 >= 0 }) else {
            throw file.invalid("the tensor \(key) has no shape of integers from 0 up")
        }
        guard shape.count <= TensorExtent.mostDimensions else {
            throw file.invalid(
                "the tensor \(key) has \(shape.count) dimensions; at most"
                    + " \(TensorExtent.mostDimensions) are supported"
            )
        }
        guard let offsets = integers(fields["data_offsets"]), offsets.count == 2 else {
            throw file.invalid("the tensor \(key) has no pair of integers as data_offsets")
        }
        guard 0 <= offsets[0], offsets[0] <= offsets[1] else {
            throw file.invalid(
                "the tensor \(key) has the data_offsets \(offsets); they must ascend from 0"
            )
        }
        guard let bytes = TensorExtent.byteCount(shape, dtype) else {
            throw file.invalid(
                "the tensor \(key) has the shape \(shape), whose size is larger"
                    + " than can be represented"
            )
        }
        guard bytes == offsets[1] - offsets[0] else {
            throw file.invalid(
                "the tensor \(key) of shape \(shape) and dtype \(name) does not match the"
                    + " \(offsets[1] - offsets[0]) bytes of its data_offsets"
            )
        }
        return .init(shape: shape, dtype: dtype, range: offsets[0]..<offsets[1])
    }

    private static func integers(_ value: StrictJSON?) -> [Int]? {
        guard case .array(let elements)? = value else { return nil }
        var integers: [Int] = []
        for element in elements {
            guard case .integer(let integer) = element else { return nil }
            integers.append(integer)
        }
        return integers
    }

    /// Throws unless the tensors follow each other without gaps from the header to the file's end.
    private func checkLayout(_ file: MappedFile) throws(SwanError) {
        let order = entries.sorted {
            ($0.value.range.lowerBound, $0.value.range.upperBound)
                < ($1.value.range.lowerBound, $1.value.range.upperBound)
        }
        var end = 0
        var before = "the header"
        for (key, entry) in order {
            guard entry.range.lowerBound == end else {
                let what = entry.range.lowerBound < end ? "overlap" : "leave a hole"
                throw file.invalid(
                    "the tensors \(before) and \(key) \(what): one ends at \(end), the other"
                        + " begins at \(entry.range.lowerBound)"
                )
            }
            end = entry.range.upperBound
            before = key
        }
        let (size, overflow) = dataStart.addingReportingOverflow(end)
        guard !overflow, size <= file.count else {
            throw file.cut(needing: overflow ? .max : size)
        }
        guard size == file.count else {
            throw file.invalid(
                "the tensors end at byte \(size) of \(file.count); the rest belongs"
                    + " to no tensor"
            )
        }
    }
}
