import Foundation
import SwanSystem

/// Finds the program that listens on a port, as far as this user may know.
enum PortOwner {
    /// The name and number of the process, such as `python3 (process 4711)`; nil if it is another user's.
    static func ofListener(on port: Int) -> String? {
        let sockets = Set(
            ["/proc/net/tcp", "/proc/net/tcp6"].flatMap { listeners(in: lines(of: $0), on: port) }
        )
        guard !sockets.isEmpty else { return nil }
        let processes = Folder.names(in: "/proc").compactMap { Int32($0) }.sorted()
        guard let process = processes.first(where: { holds($0, sockets) }) else { return nil }
        let name = lines(of: "/proc/\(process)/comm").first ?? "a program"
        return "\(name.printable(limit: 40)) (process \(process))"
    }

    /// The inode numbers of the sockets that listen on a port, from a table of the kernel.
    static func listeners(in table: [String], on port: Int) -> [String] {
        table.dropFirst().compactMap { line in
            let fields = line.split(separator: " ")
            guard fields.count > 9, fields[3] == "0A" else { return nil }
            let local = fields[1].split(separator: ":")
            guard local.count == 2, Int(local[1], radix: 16) == port else { return nil }
            return String(fields[9])
        }
    }

    private static func holds(_ process: Int32, _ sockets: Set<String>) -> Bool {
        let folder = "/proc/\(process)/fd"
        return Folder.names(in: folder).contains { name in
            guard
                let link = try? FileManager.default.destinationOfSymbolicLink(
                    atPath: "\(folder)/\(name)"
                )
            else { return false }
            return link.hasPrefix("socket:[")
                && sockets.contains(String(link.dropFirst(8).dropLast()))
        }
    }

    private static func lines(of path: String) -> [String] {
        // Files of /proc have no size, so they are read to their end.
        guard let handle = FileHandle(forReadingAtPath: path) else { return [] }
        defer { handle.closeFile() }
        let text = String(decoding: handle.readDataToEndOfFile(), as: UTF8.self)
        return text.split(separator: "\n").map(String.init)
    }
}
