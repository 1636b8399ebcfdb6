/// A value in the metadata of a GGUF file.
enum GGUFValue: Sendable {
    case integer(Int)
    case number(Double)
    case bool(Bool)
    /// The bytes of a text in the file, which need not be UTF-8.
    case text(Range<Int>)
    /// Elements of one type in the file; `bytes` begins with the first one.
    case array(type: UInt32, count: Int, bytes: Range<Int>)

    /// The types of the format, by their numbers.
    enum Kind: UInt32 {
        case uint8, int8, uint16, int16, uint32, int32, float32, bool, string, array
        case uint64, int64, float64

        /// The size of a value in bytes; nil for values of different sizes.
        var byteCount: Int? {
            switch self {
            case .uint8, .int8, .bool: 1
            case .uint16, .int16: 2
            case .uint32, .int32, .float32: 4
            case .uint64, .int64, .float64: 8
            case .string, .array: nil
            }
        }
    }
}

extension ByteReader {
    /// Why a value cannot be read.
    enum ValueFailure: Error {
        /// The file ends within the value.
        case end
        /// There is no type with this number.
        case type(UInt32)
        /// Arrays contain arrays.
        case nested
    }

    /// Reads a value of a type of GGUF.
    mutating func value(_ type: UInt32) throws(ValueFailure) -> GGUFValue {
        guard let kind = GGUFValue.Kind(rawValue: type) else { throw .type(type) }
        do {
            switch kind {
            case .uint8: return .integer(Int(try integer(UInt8.self)))
            case .int8: return .integer(Int(try integer(Int8.self)))
            case .uint16: return .integer(Int(try integer(UInt16.self)))
            case .int16: return .integer(Int(try integer(Int16.self)))
            case .uint32: return .integer(Int(try integer(UInt32.self)))
            case .int32: return .integer(Int(try integer(Int32.self)))
            case .uint64: return .integer(Int(clamping: try integer(UInt64.self)))
            case .int64: return .integer(Int(try integer(Int64.self)))
            case .float32: return .number(Double(Float(bitPattern: try integer())))
            case .float64: return .number(Double(bitPattern: try integer()))
            case .bool: return .bool(try integer(UInt8.self) != 0)
            case .string: return .text(try text())
            case .array: break
            }
        } catch {
            throw .end
        }
        return try array()
    }

    private mutating func array() throws(ValueFailure) -> GGUFValue {
        do {
            let type = try integer(UInt32.self)
            guard let kind = GGUFValue.Kind(rawValue: type) else { throw ValueFailure.type(type) }
            let count = Int(clamping: try integer(UInt64.self))
            let start = offset
            if let size = kind.byteCount {
                let (bytes, overflow) = count.multipliedReportingOverflow(by: size)
                guard !overflow else { throw ValueFailure.end }
                try skip(bytes)
            } else {
                guard kind == .string else { throw ValueFailure.nested }
                // Each has at least its length, so the loop ends with the file.
                for _ in 0..<count { _ = try text() }
            }
            return .array(type: type, count: count, bytes: start..<offset)
        } catch let failure as ValueFailure {
            throw failure
        } catch {
            throw .end
        }
    }

    /// The range of a text after its length.
    mutating func text() throws(End) -> Range<Int> {
        let count = Int(clamping: try integer(UInt64.self))
        let start = offset
        try skip(count)
        return start..<offset
    }
}
