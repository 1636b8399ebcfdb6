import Glibc

/// What the operating system refused, or would refuse in the middle of the work.
public struct SystemError: Error, Sendable, CustomStringConvertible {
    /// The kind of failure, for exit codes and for tests.
    public enum Code: Sendable, Hashable {
        /// Memory, address space or threads.
        case outOfMemory
        /// Room on a disk.
        case diskFull
    }

    /// The kind of failure.
    public let code: Code
    /// What was refused, and what to try.
    public let message: String

    /// An error of a kind, with a message.
    public init(_ code: Code, _ message: String) {
        self.code = code
        self.message = message
    }

    /// The message.
    public var description: String { message }
}

extension SystemError {
    /// What the system calls an error number.
    public static func reason(_ number: Int32) -> String { String(cString: strerror(number)) }
}
