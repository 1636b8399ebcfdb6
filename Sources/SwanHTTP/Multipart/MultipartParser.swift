import Foundation
import HTTPTypes
import NIOCore

/// Splits a `multipart/form-data` body (RFC 7578) into its parts while it arrives.
///
/// Holds no more than the headers of one part, or a boundary that may have begun.
struct MultipartParser {
    /// What a piece of the body contained, in order.
    enum Event: Equatable {
        case part(MultipartPart)
        case data([UInt8])
        case endOfPart
    }

    private enum State {
        /// Before the first boundary, or in what follows a part: at a boundary.
        case preamble
        /// Behind a boundary, before it is known whether it is the last one.
        case boundary
        case headers
        case body
        /// Behind the last boundary.
        case epilogue
    }

    private let delimiter: [UInt8]
    private let limits: MultipartLimits
    private var state = State.preamble
    private var buffer: [UInt8] = []
    private var parts = 0

    /// - Parameter boundary: The parameter of the content type.
    init(boundary: String, limits: MultipartLimits) {
        delimiter = Array("\r\n--\(boundary)".utf8)
        self.limits = limits
        // The first boundary need not follow a line break.
        buffer = [0x0D, 0x0A]
    }

    /// The boundary of a content type; nil if it is not `multipart/form-data`, or not a valid boundary.
    static func boundary(of contentType: String) -> String? {
        let parts = contentType.split(separator: ";", maxSplits: 1)
        guard parts.count == 2, parts[0].lowercased().filter({ $0 != " " }) == "multipart/form-data"
        else { return nil }
        for parameter in parts[1].split(separator: ";") {
            let pair = parameter.split(separator: "=", maxSplits: 1)
            guard pair.count == 2,
                pair[0].trimmingCharacters(in: .whitespaces).lowercased() == "boundary"
            else { continue }
            let value = pair[1].trimmingCharacters(in: .whitespaces)
                .trimmingCharacters(in: CharacterSet(charactersIn: "\""))
            let isValid = (1...70).contains(value.utf8.count) && value.utf8.allSatisfy(\.isBoundary)
            return isValid ? value : nil
        }
        return nil
    }

    /// Takes a piece of the body.
    mutating func feed(_ bytes: some Sequence<UInt8>) throws(APIError) -> [Event] {
        buffer += bytes
        var events: [Event] = []
        while try step(&events) {}
        return events
    }

    /// Throws unless the body was complete.
    func finish() throws(APIError) {
        guard case .epilogue = state else {
            throw .malformedForm("The form ends before its last boundary.")
        }
    }

    /// Parses as much as one state allows; returns whether there may be more.
    private mutating func step(_ events: inout [Event]) throws(APIError) -> Bool {
        switch state {
        case .preamble:
            guard let start = buffer.position(of: delimiter) else {
                guard buffer.count <= limits.headerBytes else {
                    throw .malformedForm("The form does not begin with its boundary.")
                }
                return false
            }
            buffer.removeFirst(start + delimiter.count)
            state = .boundary
        case .boundary:
            return try stepBehindBoundary()
        case .headers:
            return try stepInHeaders(&events)
        case .body:
            return stepInBody(&events)
        case .epilogue:
            buffer.removeAll()
            return false
        }
        return true
    }

    private mutating func stepBehindBoundary() throws(APIError) -> Bool {
        guard buffer.count >= 2 else { return false }
        if buffer.starts(with: "--".utf8) {
            state = .epilogue
            return true
        }
        // White space may follow a boundary.
        let spaces = buffer.prefix { $0 == 0x20 || $0 == 0x09 }.count
        guard spaces <= 70 else { throw .malformedForm("A boundary is malformed.") }
        guard buffer.count >= spaces + 2 else { return false }
        guard buffer[spaces] == 0x0D, buffer[spaces + 1] == 0x0A else {
            throw .malformedForm("A boundary is malformed.")
        }
        parts += 1
        guard parts <= limits.parts else {
            throw .formTooLarge("A form has at most \(limits.parts) parts.")
        }
        buffer.removeFirst(spaces)
        state = .headers
        return true
    }

    private mutating func stepInHeaders(_ events: inout [Event]) throws(APIError) -> Bool {
        // The line break of the boundary begins the headers, so a part without any ends them at once.
        let ending: [UInt8] = [0x0D, 0x0A, 0x0D, 0x0A]
        guard let end = buffer.firstRange(of: ending) else {
            guard buffer.count <= limits.headerBytes else {
                throw .formTooLarge(
                    "The headers of a part have at most \(limits.headerBytes) bytes."
                )
            }
            return false
        }
        guard end.lowerBound <= limits.headerBytes else {
            throw .formTooLarge("The headers of a part have at most \(limits.headerBytes) bytes.")
        }
        let headers = buffer[..<end.lowerBound].dropFirst(2)
        events.append(.part(try MultipartPart(headers: headers)))
        buffer.removeFirst(end.upperBound)
        state = .body
        return true
    }

    private mutating func stepInBody(_ events: inout [Event]) -> Bool {
        if let end = buffer.position(of: delimiter) {
            emit(end, &events)
            events.append(.endOfPart)
            buffer.removeFirst(end + delimiter.count)
            state = .boundary
            return true
        }
        // The end of what has arrived may be the beginning of a boundary.
        let safe = buffer.count - (delimiter.count - 1)
        guard safe > 0 else { return false }
        emit(safe, &events)
        buffer.removeFirst(safe)
        return false
    }

    private func emit(_ count: Int, _ events: inout [Event]) {
        guard count > 0 else { return }
        events.append(.data(Array(buffer.prefix(count))))
    }
}

extension [UInt8] {
    /// The index of the first occurrence of other bytes, whose first one is rare.
    fileprivate func position(of pattern: [UInt8]) -> Int? {
        guard let first = pattern.first else { return nil }
        return withUnsafeBytes { bytes in
            guard let start = bytes.baseAddress else { return nil }
            var index = 0
            while index + pattern.count <= bytes.count {
                let rest = bytes.count - pattern.count + 1 - index
                guard let found = memchr(start + index, Int32(first), rest) else { return nil }
                index = UnsafeRawPointer(found) - start
                if memcmp(start + index, pattern, pattern.count) == 0 { return index }
                index += 1
            }
            return nil
        }
    }
}

extension UInt8 {
    /// The characters of a boundary (RFC 2046).
    fileprivate var isBoundary: Bool {
        switch self {
        case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "a")...UInt8(ascii: "z"):
            true
        default: "'()+_,-./:=? ".utf8.contains(self)
        }
    }
}
