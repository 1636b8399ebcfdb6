import SwanSystem

/// A buffer for the error message of a C function.
struct ErrorMessage: CustomStringConvertible {
    private var buffer = [CChar](repeating: 0, count: 512)

    /// Calls `body` with the buffer and its size.
    mutating func write<Result>(
        _ body: (UnsafeMutablePointer<CChar>?, Int) -> Result,
    ) -> Result {
        buffer.withUnsafeMutableBufferPointer { body($0.baseAddress, $0.count) }
    }

    /// The message up to its terminating zero, printable: the library may quote the file.
    var description: String {
        String(decoding: buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
            .printable(limit: buffer.count)
    }
}
