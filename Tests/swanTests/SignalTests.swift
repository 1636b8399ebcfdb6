import Foundation
import GoldenSupport
import Testing
import ModelSupport

/// Ctrl-C, SIGTERM or a closed terminal during a run.
@Suite struct SignalTests {
    private let folder: TemporaryDirectory
    private let fixture: Fixture

    init() throws {
        folder = try TemporaryDirectory()
        fixture = try Fixture.shared.get()
    }

    @Test(arguments: [SIGINT, SIGTERM, SIGHUP])
    func signalsKeepFinishedFrames(_ signal: Int32) throws {
        let (out, summary) = (folder.path("out.mp4"), folder.path("summary.json"))
        let program = try start(out, "--json", summary)
        // Some frames are done, and the program waits for more input.
        program.wait(for: #""frames_out":5"#)
        program.send(signal)
        let outcome = try program.end()
        #expect(outcome.code == 128 + signal, "\(outcome.messages)")
        let frames = try Fixture.count(out)
        #expect(frames >= 5)
        let fields = try StreamTests.fields(Data(contentsOf: URL(fileURLWithPath: summary)))
        #expect(fields["was_interrupted"] as? Bool == true)
        #expect(fields["frames_out"] as? Int == frames)
        #expect(try folder.names == ["out.mp4", "summary.json"])
    }

    /// The program waits for the reader of a pipe, and a signal ends the wait.
    @Test func signalsEndTheWaitForAReader() throws {
        let pipe = folder.path("pipe.mp4")
        #expect(mkfifo(pipe, 0o600) == 0)
        let program = try Program([
            "stream", fixture.clip, "--model", fixture.model, "--prompt", "a", "-o", pipe,
        ])
        // The program must end whether it is already waiting or not.
        sleep(2)
        program.send(SIGTERM)
        for _ in 0..<200 where program.isRunning { usleep(50_000) }
        program.send(SIGKILL)
        #expect(try program.end().code == 128 + SIGTERM)
    }

    /// Like `nohup`, the shell starts the program with hangups ignored.
    @Test func ignoredHangupsStayIgnored() throws {
        let outcome = try Shell.run(
            """
            trap '' HUP; mkfifo in; { cat '\(fixture.clip)'; sleep 1; } > in &
            swan stream - --model '\(fixture.model)' --prompt a -o out.mp4 --progress none < in &
            program=$!; sleep 0.5; kill -HUP $program; wait $program
            """,
            in: folder.url.path
        )
        #expect(outcome.code == 0, "\(outcome.messages)")
        #expect(try Fixture.count(folder.path("out.mp4")) == 21)
    }

    /// The input is a sparse file with 600 MB of zeros.
    @Test(arguments: ["out", "out.safetensors"], [SIGINT, SIGTERM, SIGHUP])
    func stoppedConversionsLeaveNoFiles(_ destination: String, _ signal: Int32) throws {
        let count = 150_000_000
        let header =
            #"{"a":{"dtype":"F32","shape":[150,1000000],"data_offsets":[0,\#(4 * count)]}}"#
        let length = withUnsafeBytes(of: UInt64(header.utf8.count).littleEndian) { Array($0) }
        let source = try folder.file("in.safetensors", length + Array(header.utf8))
        #expect(truncate(source, 8 + header.utf8.count + 4 * count) == 0)
        let program = try Program([
            "models", "convert", source, folder.path(destination), "--dtype", "bfloat16",
        ])
        while program.isRunning, try folder.names.count == 1 { usleep(500) }
        program.send(signal)
        #expect(try program.end().code == 128 + signal)
        #expect(try folder.names == ["in.safetensors"])
    }

    /// A preview is a separate file next to the video.
    @Test(arguments: [SIGINT, SIGTERM, SIGHUP])
    func signalsLeaveNoPartialPreview(_ signal: Int32) throws {
        let model = try GenerateFixture.shared.get().path(.textToVideo)
        let program = try Program(
            [
                "generate", "--model", model, "--prompt", "a fox", "--size", "64x64", "--frames",
                "21", "--steps", "300", "--device", "cpu", "--preview", "1", "-o", "out.mp4",
                "--progress", "none",
            ],
            in: folder.url.path
        )
        func isWritingAPreview() throws -> Bool {
            try folder.names.contains { $0.hasPrefix(".out.preview") && $0.contains("partial") }
        }
        while program.isRunning, try !isWritingAPreview() { usleep(100) }
        program.send(signal)
        let outcome = try program.end()
        #expect(outcome.code == 128 + signal, "\(outcome.messages)")
        #expect(try !folder.names.contains { $0.contains("partial") }, "\(outcome.messages)")
    }

    /// Benchmarks write to the system's temporary folder.
    @Test func stoppedBenchmarksLeaveNoFiles() throws {
        let model = try Fixture.shared.get().model
        func stopped(by signal: String) throws -> Program.Outcome {
            try Shell.run(
                """
                TMPDIR=$PWD '\(Program.url.path)' bench speed stream --model '\(model)' \
                    --rounds 9000 & program=$!
                until ls -d .swan-bench.swan-partial-$program; do sleep 0.05; done; sleep 0.2
                kill -\(signal) $program; wait $program
                """,
                in: folder.url.path
            )
        }
        #expect(try stopped(by: "KILL").code == 128 + SIGKILL)
        #expect(try folder.names.count == 1)
        for (name, signal) in [("TERM", SIGTERM), ("HUP", SIGHUP)] {
            let outcome = try stopped(by: name)
            #expect(outcome.code == 128 + signal, "\(outcome.messages)")
            #expect(try folder.names.isEmpty, "\(outcome.messages)")
        }
    }

    /// The input is read ahead until the queue is full, and then the reader waits.
    @Test func signalsKeepFinishedFramesOfALongFile() throws {
        let (clip, out) = (folder.path("long.mkv"), folder.path("out.mp4"))
        try Fixture.write(clip, frames: 900)
        let program = try Program([
            "stream", clip, "--model", fixture.model, "--prompt", "a cat", "-o", out,
            "--progress", "json",
        ])
        program.wait(for: "\"frames_out\":5")
        program.send(SIGINT)
        #expect(try program.end().code == 130)
        #expect(try (5..<900).contains(Fixture.count(out)))
        #expect(try Set(folder.names) == ["long.mkv", "out.mp4"])
    }

    /// The output's reader goes away while no input arrives. The program does not wait for the
    /// input.
    @Test func closedOutputEndsAnIdleStream() throws {
        let clip = folder.path("in.y4m")
        try Fixture.write(clip, frames: 60)
        let shell = Process()
        shell.executableURL = URL(fileURLWithPath: "/bin/sh")
        shell.arguments = [
            "-c",
            // Open for reading and writing, the pipe never ends.
            "cd '\(folder.url.path)'; mkfifo pipe; exec 3<>pipe; cat in.y4m >&3 & "
                + "{ '\(Program.url.path)' stream - --model '\(fixture.model)' --prompt a -o - "
                + "--progress none <pipe; echo $? > code; } 2>/dev/null | head -c 9",
        ]
        shell.standardOutput = Pipe()
        try shell.run()
        shell.waitUntilExit()
        #expect(try String(contentsOfFile: folder.path("code"), encoding: .utf8) == "74\n")
    }

    @Test func signalsBeforeTheFirstFrameLeaveNoFiles() throws {
        let program = try Program([
            "stream", "-", "--model", fixture.model, "--prompt", "a cat", "-o",
            folder.path("out.mp4"), "--progress", "json",
        ])
        // The start of a frame: the program waits for the rest.
        try program.feed(Data("YUV4MPEG2 W32 H32 F25:1 C420jpeg\nFRAME\n".utf8))
        // The signal may arrive before or after the program handles signals. The result is the
        // same.
        usleep(500_000)
        program.send(SIGINT)
        #expect(try program.end().code == 130)
        #expect(try folder.names == [])
    }

    @Test func closedOutputIsAnOutputError() throws {
        let shell = Process()
        shell.executableURL = URL(fileURLWithPath: "/bin/sh")
        let program = Program.url.path
        shell.arguments = [
            "-c",
            "{ '\(program)' stream '\(fixture.clip)' --model '\(fixture.model)' --prompt a -o - "
                + "--progress none; echo $? > '\(folder.path("code"))'; } 2>/dev/null | head -c 9",
        ]
        shell.standardOutput = Pipe()
        try shell.run()
        shell.waitUntilExit()
        #expect(try String(contentsOfFile: folder.path("code"), encoding: .utf8) == "74\n")
    }

    private func start(_ out: String, _ arguments: String...) throws -> Program {
        let program = try Program(
            [
                "stream", "-", "--model", fixture.model, "--prompt", "a cat", "-o", out,
                "--progress", "json", "--no-stream-batch",
            ] + arguments
        )
        let clip = folder.path("in.y4m")
        try Fixture.write(clip, frames: 13)
        try program.feed(Data(contentsOf: URL(fileURLWithPath: clip)))
        try FileManager.default.removeItem(atPath: clip)
        return program
    }
}
