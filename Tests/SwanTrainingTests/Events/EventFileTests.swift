import Foundation
import GoldenSupport
import Testing

@testable import SwanTiny
@testable import SwanTraining
import SwanSystem

/// Events, and the file that TensorBoard's writer made of them (Goldens/events.py).
private struct EventGolden: Decodable {
    let events: [Entry]
    let file: Data

    struct Entry: Decodable {
        let step: Int
        let seconds: Double
        let what: String
        let scalars: [Scalar]?
        let image: Image?

        var event: TrainingEvent {
            switch what {
            case "version": return .fileVersion
            case "start": return .start
            default:
                var values = (scalars ?? []).map {
                    TrainingEvent.Value.scalar(tag: $0.tag, $0.value)
                }
                if let image {
                    let picture = PNGPicture(
                        width: image.width,
                        height: image.height,
                        bytes: Array(image.bytes)
                    )
                    values.append(.image(tag: image.tag, picture, caption: image.caption))
                }
                return .summary(values)
            }
        }
    }

    struct Scalar: Decodable {
        let tag: String
        let value: Float
    }

    struct Image: Decodable {
        let tag, caption: String
        let width, height: Int
        let bytes: Data
    }

    static func load() throws -> EventGolden {
        let file = URL(fileURLWithPath: Golden.path("events.json"))
        return try JSONDecoder().decode(EventGolden.self, from: Data(contentsOf: file))
    }

    /// Writes the events with Swan. The first event is the one that starts every file.
    func write(to folder: URL) throws -> EventFile {
        let first = try #require(events.first)
        let file = try EventFile(in: folder, at: Date(timeIntervalSince1970: first.seconds))
        for entry in events.dropFirst() {
            let date = Date(timeIntervalSince1970: entry.seconds)
            try file.write(entry.event, step: entry.step, at: date)
        }
        return file
    }
}

@Suite("Event files")
struct EventFileTests {
    /// Values from RFC 3720, B.4, and the check value in catalogs of checksums.
    @Test func checksumsMatchTheStandard() {
        let rising = [UInt8](0..<32)
        #expect(CRC32C.checksum(Array(repeating: 0, count: 32)) == 0x8A91_36AA)
        #expect(CRC32C.checksum(Array(repeating: 0xFF, count: 32)) == 0x62A8_AB43)
        #expect(CRC32C.checksum(rising) == 0x46DD_794E)
        #expect(CRC32C.checksum(rising.reversed()) == 0x113F_DB5C)
        #expect(CRC32C.checksum(Array("123456789".utf8)) == 0xE306_9283)
        #expect(CRC32C.checksum([]) == 0)
    }

    @Test func writesTheSameBytesAsTensorBoard() throws {
        let golden = try EventGolden.load()
        let folder = try TemporaryDirectory()
        let file = try golden.write(to: folder.url)
        let written = try Data(contentsOf: URL(fileURLWithPath: file.path))
        #expect(golden.file.count > 500)
        #expect(written == golden.file)
    }

    @Test func eventsCanBeReadImmediately() throws {
        let folder = try TemporaryDirectory()
        let file = try EventFile(in: folder.url)
        let url = URL(fileURLWithPath: file.path)
        for step in 1...3 {
            try file.write(.summary([.scalar(tag: "a", Float(step))]), step: step)
            let events = try #require(ReadEvent.all(in: Data(contentsOf: url)))
            #expect(events.map(\.step) == Array(0...step))
            #expect(events.first?.fileVersion == "brain.Event:2")
            #expect(events.last?.scalars == ["a": Float(step)])
        }
    }

    @Test func truncatedFilesKeepTheirCompleteRecords() throws {
        let golden = try EventGolden.load()
        let steps = golden.events.map(\.step)
        #expect(ReadEvent.all(in: golden.file)?.map(\.step) == steps)
        for cut in 1...40 {
            let events = ReadEvent.all(in: golden.file.dropLast(cut))
            #expect(events?.map(\.step) == steps.dropLast())
        }
    }

    @Test func filesAreNamedByTimeAndNeverOverwritten() throws {
        let folder = try TemporaryDirectory()
        let date = Date(timeIntervalSince1970: 1_700_000_000.9)
        let files = try (0..<3).map { _ in try EventFile(in: folder.url, at: date) }
        let host = ProcessInfo.processInfo.hostName
        let names = (1_700_000_000...1_700_000_002).map { "events.out.tfevents.\($0).\(host)" }
        #expect(files.map(\.path) == names.map(folder.path))
        #expect(try folder.names == names)
    }

    @Test func namesAFolderThatCannotBeCreated() throws {
        let folder = try TemporaryDirectory()
        let path = try folder.file("events", text: "not a folder")
        let error = #expect(throws: SwanError.self) {
            try EventFile(in: URL(fileURLWithPath: path))
        }
        #expect(error?.code == .cannotWrite)
        #expect(error?.message.hasPrefix(path) == true, "\(error?.message ?? "")")
    }
}
