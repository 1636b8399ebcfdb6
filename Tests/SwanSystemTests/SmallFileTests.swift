import Foundation
import GoldenSupport
import SwanSystem
import Testing

/// Files that are read completely.
@Suite struct SmallFileTests {
    private let folder: TemporaryDirectory

    init() throws { folder = try TemporaryDirectory() }

    private func code(_ path: String, atMost limit: Int = 100) -> SwanError.Code? {
        (failure { _ = try SmallFile.text(path, atMost: limit) } as? SwanError)?.code
    }

    @Test func removesTheByteOrderMark() throws {
        #expect(try SmallFile.text(folder.file("a", text: "Käse\n")) == "Käse\n")
        let marked = try folder.file("b", [0xEF, 0xBB, 0xBF] + Array("a".utf8))
        #expect(try SmallFile.text(marked) == "a")
        #expect(try SmallFile.data(folder.file("c", [])) == Data())
    }

    /// Reading never blocks, and never continues without end.
    @Test func refusesPathsThatAreNotRegularFiles() throws {
        let pipe = folder.path("pipe")
        #expect(mkfifo(pipe, 0o600) == 0)
        for path in [pipe, "/dev/zero", "/dev/null", folder.url.path] {
            #expect(code(path) == .notRegular, "\(path)")
        }
        let name = folder.path("socket")
        let socket = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
        defer { close(socket) }
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: name.utf8.prefix(107)) }
        let size = socklen_t(MemoryLayout<sockaddr_un>.size)
        let bound = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { bind(socket, $0, size) }
        }
        #expect(bound == 0 && code(name) == .notRegular)
        let link = folder.path("link")
        #expect(symlink(pipe, link) == 0)
        #expect(code(link) == .notRegular)
    }

    @Test func limitsFilesThatReportNoSize() throws {
        let path = try folder.file("a", Array(repeating: 65, count: 101))
        #expect(code(path) == .tooLarge)
        #expect(code(path, atMost: 101) == nil)
        // Files in /proc report a size of zero.
        #expect(code("/proc/self/maps", atMost: 10) == .tooLarge)
    }

    @Test func reportsMissingFilesAndInvalidText() throws {
        #expect(code(folder.path("missing")) == .noSuchFile)
        #expect(code(folder.path("a\u{0}b")) == .noSuchFile)
        #expect(code(try folder.file("b", [0xFF])) == .notText)
        let error = failure { _ = try SmallFile.text(folder.path("missing")) } as? SwanError
        #expect(error?.message.hasPrefix(folder.path("missing") + ": ") == true)
    }
}
