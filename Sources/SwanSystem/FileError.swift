/// What kept a file from being read.
package struct FileError: Error, Sendable, Equatable, CustomStringConvertible {
    /// The kind of failure, for a caller that acts on it.
    package enum Code: Sendable, Equatable {
        /// There is no such file.
        case noSuchFile
        /// The system does not let it be read.
        case unreadable
        /// A directory, a pipe, a socket or a device.
        case notRegular
        /// More bytes than a file of its kind has.
        case tooLarge
        /// Bytes that are not text.
        case notText
    }

    /// The kind of failure.
    package let code: Code
    /// The file and what was wrong with it.
    package let message: String

    /// The message.
    package var description: String { message }
}
