import Foundation

@testable import SwanTiny
@testable import SwanTraining

/// An event read from a file, by a reader that shares only the checksum with the writer.
struct ReadEvent: Equatable {
    var step = 0
    var fileVersion: String?
    var isStart = false
    var scalars: [String: Float] = [:]
    var images: [String: Data] = [:]

    /// The events in the complete records of a file, or nil if a checksum is wrong.
    static func all(in file: Data) -> [ReadEvent]? {
        var rest = Array(file)[...]
        var events: [ReadEvent] = []
        while rest.count >= 12 {
            let head = Array(rest.prefix(8))
            let length = Int(number(head))
            guard number(rest.dropFirst(8).prefix(4)) == CRC32C.masked(head) else { return nil }
            guard rest.count >= length + 16 else { break }
            let bytes = Array(rest.dropFirst(12).prefix(length))
            guard number(rest.dropFirst(12 + length).prefix(4)) == CRC32C.masked(bytes) else {
                return nil
            }
            events.append(ReadEvent(bytes))
            rest = rest.dropFirst(length + 16)
        }
        return events
    }

    /// The events of each file in a folder, in the order of the files' names.
    static func files(in folder: URL) throws -> [[ReadEvent]?] {
        try FileManager.default.contentsOfDirectory(atPath: folder.path).sorted()
            .map { all(in: try Data(contentsOf: folder.appending(path: $0))) }
    }

    private init(_ bytes: [UInt8]) {
        for (field, value) in Self.fields(bytes) {
            switch (field, value) {
            case (2, .number(let step)): self.step = Int(step)
            case (3, .bytes(let text)): fileVersion = String(decoding: text, as: UTF8.self)
            case (5, .bytes(let summary)):
                for case (1, .bytes(let value)) in Self.fields(summary) { add(value) }
            case (7, .bytes(let session)):
                for case (1, .number(1)) in Self.fields(session) { isStart = true }
            default: break
            }
        }
    }

    private mutating func add(_ value: [UInt8]) {
        var tag = ""
        for (field, content) in Self.fields(value) {
            switch (field, content) {
            case (1, .bytes(let text)): tag = String(decoding: text, as: UTF8.self)
            case (2, .number(let bits)): scalars[tag] = Float(bitPattern: UInt32(bits))
            case (4, .bytes(let image)):
                for case (4, .bytes(let picture)) in Self.fields(image) {
                    images[tag] = Data(picture)
                }
            default: break
            }
        }
    }

    private enum Content {
        case number(UInt64)
        case bytes([UInt8])
    }

    private static func fields(_ bytes: [UInt8]) -> [(Int, Content)] {
        var rest = bytes[...]
        func varint() -> UInt64 {
            var value: UInt64 = 0
            var shift: UInt64 = 0
            while let byte = rest.popFirst() {
                value |= UInt64(byte & 0x7F) << shift
                shift += 7
                if byte < 0x80 { break }
            }
            return value
        }
        func take(_ count: Int) -> [UInt8] {
            defer { rest = rest.dropFirst(count) }
            return Array(rest.prefix(count))
        }
        var fields: [(Int, Content)] = []
        while !rest.isEmpty {
            let key = varint()
            let content: Content
            switch key & 7 {
            case 0: content = .number(varint())
            case 1: content = .number(number(take(8)))
            case 5: content = .number(number(take(4)))
            default: content = .bytes(take(Int(varint())))
            }
            fields.append((Int(key >> 3), content))
        }
        return fields
    }

    private static func number(_ bytes: some Collection<UInt8>) -> UInt64 {
        bytes.reversed().reduce(0) { $0 << 8 | UInt64($1) }
    }
}
