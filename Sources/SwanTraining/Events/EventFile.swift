import Foundation
import SwanSystem
import Torch

/// A file of events that TensorBoard reads while it is written.
///
/// The records are TensorFlow's (lib/io/record_writer.h): length, its checksum, bytes, their checksum.
/// Each goes to the system in one piece as soon as it is there; a process that is killed leaves at
/// worst a last record that is cut short, which readers take for the end.
final class EventFile {
    /// Where it is.
    let path: String
    private let file: FileHandle

    /// A new file in a folder, which is made if it is not there.
    ///
    /// Files are read in the order of their names, which begin with the time: where there is one of
    /// this second already, the name is that of the next.
    init(in folder: URL, at date: Date = Date()) throws {
        do {
            try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
            path = try Self.create(in: folder, at: date)
            file = try FileHandle(forWritingTo: URL(fileURLWithPath: path))
        } catch let error as CocoaError {
            throw SwanError(writing: folder.path, error)
        }
        try write(.fileVersion, step: 0, at: date)
    }

    /// Appends an event.
    ///
    /// - Parameter step: steps done.
    func write(_ event: TrainingEvent, step: Int, at date: Date = Date()) throws {
        let message = event.message(step: step, at: date.timeIntervalSince1970)
        do {
            try file.write(contentsOf: Self.record(message.bytes))
        } catch {
            throw SwanError(writing: path, error)
        }
    }

    /// Has what was written survive a power cut.
    func sync() { WholeFile.sync(path) }

    /// Bytes between their length and their checksums.
    private static func record(_ bytes: [UInt8]) -> [UInt8] {
        var length: [UInt8] = []
        length.append(littleEndian: UInt64(bytes.count))
        var record = length
        record.append(littleEndian: CRC32C.masked(length))
        record += bytes
        record.append(littleEndian: CRC32C.masked(bytes))
        return record
    }

    private static func create(in folder: URL, at date: Date) throws -> String {
        let host = ProcessInfo.processInfo.hostName
        var seconds = Int(date.timeIntervalSince1970)
        while true {
            let url = folder.appending(path: "events.out.tfevents.\(seconds).\(host)")
            do {
                try Data().write(to: url, options: .withoutOverwriting)
                return url.path
            } catch let error as CocoaError where error.code == .fileWriteFileExists {
                seconds += 1
            }
        }
    }
}
