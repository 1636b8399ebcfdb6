import CTorch
package import SwanSystem
import Foundation

extension SwanError {
    /// Creates an error for a file that could not be read.
    package init(reading error: SwanError) {
        self.init(error.code == .noSuchFile ? .noSuchFile : .invalidFile, error.message)
    }

    /// Takes the message from an error of the C interface.
    init(taking error: inout ct_error) {
        let message = error.message.map { String(cString: $0) } ?? "unknown error"
        ct_error_free(&error)
        switch error.kind {
        case CT_ERROR_OUT_OF_MEMORY:
            self.init(.outOfMemory, "out of memory: \(Self.request(in: message))")
        case CT_ERROR_NOT_FOUND: self.init(.missingOperator, message)
        case CT_ERROR_FILE: self.init(.invalidFile, message)
        case CT_ERROR_PEER: self.init(.peerFailed, message.prefix { $0 != "\n" }.description)
        case CT_ERROR_DEVICE: self.init(.deviceUnavailable, message)
        case CT_ERROR_OF_BODY: self = BodyError.taken(from: error.body)
        default: self.init(.invalidArgument, message)
        }
    }

    /// The engine's description of the request, without its own prefix.
    private static func request(in message: String) -> String {
        let firstLine = message.prefix { $0 != "\n" }
        guard let words = firstLine.firstMatch(of: /you tried to allocate (\d+) bytes/),
            let bytes = Double(words.1)
        else { return String(firstLine) }
        return "could not allocate another \(Int((bytes / 1e6).rounded(.up))) MB"
    }
}
