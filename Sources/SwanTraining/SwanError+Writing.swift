import Foundation
package import SwanSystem

extension SwanError {
    /// Creates an error from the system's error for writing to `path`.
    package init(writing path: String, _ error: any Error) {
        var number = ((error as? CocoaError)?.underlying as? POSIXError)?.code.rawValue
        if (error as? CocoaError)?.code == .fileWriteOutOfSpace { number = number ?? ENOSPC }
        let isFull = [ENOSPC, EDQUOT, EFBIG].contains(number)
        let reason = number.map { String(cString: strerror($0)) } ?? error.localizedDescription
        self.init(
            isFull ? .diskFull : .cannotWrite,
            "\(path): cannot be \(isFull ? "written" : "created"): \(reason)",
            cause: error
        )
    }
}
