import Foundation
import SwanSystem
import Torch

/// An event file that TensorBoard can read while it is being written.
///
/// Uses TensorFlow's record format (lib/io/record_writer.h): length, its checksum, data, its
/// checksum. Each record is written immediately with a single call. If the process is killed, the
/// last record may be truncated, which readers treat as the end of the file.
final class EventFile {
    /// The path of the file.
    let path: String
    private let file: FileHandle

    /// Creates a file in a folder, which is created if it does not exist.
    ///
    /// Readers sort files by name, and names start with the time in seconds. If a file for the
    /// current second exists, the new one is named after the next second.
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
    /// - Parameter step: The number of steps done.
    func write(_ event: TrainingEvent, step: Int, at date: Date = Date()) throws {
        let message = event.message(step: step, at: date.timeIntervalSince1970)
        do {
            try file.write(contentsOf: Self.record(message.bytes))
        } catch {
            throw SwanError(writing: path, error)
        }
    }

    /// Flushes the file to disk, so that it survives a power failure.
    func sync() {
        OutputPath.sync(path)
        OutputPath.sync(Folder.path(of: path))
    }

    /// Frames data as a record with its length and checksums.
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
