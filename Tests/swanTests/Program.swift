import Foundation
import GoldenSupport
import ModelSupport
import SwanMedia

/// The built program, run as a separate process.
struct Program {
    /// The result of a process.
    struct Outcome {
        let code: Int32
        let output: Data
        let messages: String

        var text: String { String(decoding: output, as: UTF8.self) }
    }

    /// The location of the program, which is built next to the tests.
    static let url = URL(fileURLWithPath: "/proc/self/exe").resolvingSymlinksInPath()
        .deletingLastPathComponent().appendingPathComponent("swan")

    /// Makes writing to a program that has already ended an error, not a signal that ends the
    /// tests.
    static let ignoresBrokenPipes: Bool = {
        signal(SIGPIPE, SIG_IGN)
        return true
    }()

    private let process = Process()
    private let output = Pipe()
    private let messages = Pipe()
    private let input = Pipe()

    /// Starts the program.
    ///
    /// - Parameters:
    ///   - errors: a handle for standard error if it is not to be collected.
    ///   - variables: variables of the environment, in addition to this process's.
    init(
        _ arguments: [String],
        in folder: String? = nil,
        errors: FileHandle? = nil,
        variables: [String: String] = [:]
    ) throws {
        _ = Self.ignoresBrokenPipes
        process.executableURL = Self.url
        process.arguments = arguments
        if let folder { process.currentDirectoryURL = URL(fileURLWithPath: folder) }
        var environment = ProcessInfo.processInfo.environment
        environment["OMP_NUM_THREADS"] = "1"
        environment["TERM"] = "xterm"
        process.environment = environment.merging(variables) { $1 }
        process.standardInput = input
        process.standardOutput = output
        process.standardError = errors ?? messages
        try process.run()
    }

    /// Writes bytes to standard input, closes it, and waits for the process to end.
    func end(input bytes: Data = Data()) throws -> Outcome {
        let (input, messages) = (input.fileHandleForWriting, messages.fileHandleForReading)
        // A full pipe would block the process, so each pipe has a thread.
        let group = DispatchGroup()
        DispatchQueue.global().async(group: group) {
            do {
                try input.write(contentsOf: bytes)
                try input.close()
            } catch {
                // A process that ends early does not read all of its input.
            }
        }
        let errors = Collector()
        if process.standardError as? Pipe != nil {
            DispatchQueue.global().async(group: group) { errors.read(messages) }
        }
        let output = output.fileHandleForReading.readDataToEndOfFile()
        process.waitUntilExit()
        group.wait()
        let status = process.terminationStatus
        let code = process.terminationReason == .exit ? status : 128 + status
        return Outcome(code: code, output: output, messages: errors.text)
    }

    /// Reads standard error until it contains `text`.
    func wait(for text: String) {
        var seen = ""
        while !seen.contains(text) {
            let part = messages.fileHandleForReading.availableData
            guard !part.isEmpty else { return }
            seen += String(decoding: part, as: UTF8.self)
        }
    }

    /// Whether the process is running.
    var isRunning: Bool { process.isRunning }

    /// Sends a signal to the process.
    func send(_ signal: Int32) {
        kill(process.processIdentifier, signal)
    }

    /// Writes bytes to standard input and leaves it open.
    func feed(_ bytes: Data) throws {
        try input.fileHandleForWriting.write(contentsOf: bytes)
    }

    /// Runs the program from start to end.
    static func run(_ arguments: String..., input: Data = Data(), in folder: String? = nil) throws
        -> Outcome
    {
        try Program(arguments, in: folder).end(input: input)
    }
}

/// Text that another thread reads from a handle.
private final class Collector: @unchecked Sendable {
    // Written by one thread, and read after that thread has ended.
    private(set) var text = ""

    func read(_ handle: FileHandle) {
        text = String(decoding: handle.readDataToEndOfFile(), as: UTF8.self)
    }
}

/// A model and a clip that are shared by all tests.
final class Fixture: Sendable {
    static let shared = Result { try Fixture() }

    private let folder: TemporaryDirectory
    /// The folder of a model with random weights for frames of 32x32.
    let model: String
    /// 21 frames of 48x32 at 25 fps.
    let clip: String

    private init() throws {
        folder = try TemporaryDirectory()
        model = folder.path("model")
        clip = folder.path("clip.mp4")
        // A global value is never released, so its folder is removed at exit.
        atexit {
            if case .success(let fixture) = Fixture.shared { fixture.remove() }
        }
        try TinyModel.write(to: model)
        try Self.write(clip, frames: 21)
    }

    private func remove() {
        do {
            try FileManager.default.removeItem(at: folder.url)
        } catch {
            // Files left in the system's temporary folder do no harm.
        }
    }

    /// Writes a video of a picture that gets brighter.
    static func write(_ path: String, frames: Int, width: Int = 48, height: Int = 32) throws {
        guard let rate = Rational(25) else { return }
        let writer = try VideoWriter(path: path, width: width, height: height, frameRate: rate)
        for index in 0..<frames {
            let pixels = (0..<(3 * width * height)).map { UInt8(($0 / 3 + 8 * index) % 256) }
            try writer.append(VideoFrame(width: width, height: height, pixels: pixels))
        }
        try writer.finish()
    }

    /// The number of frames in a video.
    static func count(_ path: String) throws -> Int {
        let reader = try VideoReader(path: path)
        var count = 0
        while try reader.nextFrame() != nil { count += 1 }
        return count
    }
}
