import Foundation
import GoldenSupport
import SwanPipelines
import Testing

@testable import swan

/// Progress on a terminal.
@Suite struct ProgressTests {
    private func progress(_ out: Int, of total: Int?, seconds: Double) -> StreamProgress {
        var progress = StreamProgress(stage: .streaming, total: total)
        (progress.framesOut, progress.seconds) = (out, seconds)
        return progress
    }

    @Test(arguments: 1...200)
    func noLineIsWiderThanTheTerminal(_ columns: Int) {
        for progress in [
            progress(123, of: 250, seconds: 4), progress(9_999_999, of: 10_000_000, seconds: 3e5),
            progress(123, of: nil, seconds: 4), progress(0, of: 250, seconds: 0),
            progress(5, of: 0, seconds: 1), StreamProgress(stage: .loading, total: 9),
        ] {
            #expect(ProgressLine.bar(progress, columns: columns).count <= columns)
        }
    }

    @Test func speedAndRemainingTimeFitInTwentyColumns() {
        let line = ProgressLine.bar(progress(120, of: 240, seconds: 4), columns: 19)
        #expect(line == "50% 30.0 fps 0:04")
    }

    @Test func wideLinesHaveABar() {
        let line = ProgressLine.bar(progress(120, of: 240, seconds: 4), columns: 79)
        #expect(line.hasPrefix("[####################....................] 50%"))
        #expect(line.hasSuffix("120/240  30.0 fps  ETA 0:04"))
    }

    @Test(arguments: [(0, "0:00"), (59.2, "1:00"), (3_600, "1:00:00"), (1e12, "99:59:59")])
    func formatsTimes(_ seconds: Double, _ text: String) {
        #expect(ProgressLine.time(seconds) == text)
    }

    @Test func leavesATerminalClean() throws {
        let fixture = try Fixture.shared.get()
        let folder = try TemporaryDirectory()
        let (master, terminal) = try openTerminal(columns: 20)
        let program = try Program(
            [
                "stream", fixture.clip, "--model", fixture.model, "--prompt", "a cat", "-o",
                folder.path("o.mp4"), "--width", "32", "--height", "32", "--fit", "stretch",
            ],
            errors: terminal
        )
        #expect(try program.end().code == 0)
        var drawn = [UInt8](repeating: 0, count: 65_536)
        let count = read(master.fileDescriptor, &drawn, drawn.count)
        let text = String(decoding: drawn[..<max(0, count)], as: UTF8.self)
        #expect(text.contains("fps"))
        // The bar is cleared at the end, before the summary.
        let parts = text.components(separatedBy: "\r\u{1B}[J")
        #expect(parts.count > 2)
        #expect(parts.last?.hasPrefix("swan: ") == true)
        for bar in parts.dropLast() { #expect(bar.count < 20, "\(bar)") }
    }

    /// A pseudo-terminal: the side to read from and the side to write to.
    private func openTerminal(columns: UInt16) throws -> (FileHandle, FileHandle) {
        // Swift's Glibc lacks posix_openpt and the like. This is what they do on Linux.
        let (unlock, number) = (UInt(0x4004_5431), UInt(0x8004_5430))
        var (locked, index) = (CInt(0), CInt(0))
        let master = open("/dev/ptmx", O_RDWR | O_NOCTTY)
        try #require(master >= 0 && ioctl(master, unlock, &locked) == 0)
        try #require(ioctl(master, number, &index) == 0)
        let terminal = open("/dev/pts/\(index)", O_RDWR | O_NOCTTY)
        try #require(terminal >= 0)
        var size = winsize(ws_row: 24, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0)
        try #require(ioctl(master, UInt(TIOCSWINSZ), &size) == 0)
        return (
            FileHandle(fileDescriptor: master, closeOnDealloc: true),
            FileHandle(fileDescriptor: terminal, closeOnDealloc: true)
        )
    }
}
