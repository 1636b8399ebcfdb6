import Foundation
import SwanMedia
import SwanSystem

/// Frames of an uploaded file, decoded by a process of its own (`DecodeWorker`).
///
/// The process waits while frames are not taken. It is killed when the decoder is released. Frames are taken by one
/// thread at a time; any thread may close it.
final class UploadDecoder: @unchecked Sendable {
    /// The properties of the file.
    let info: UploadInfo
    private let child: ChildProcess
    private let limits: DecodeLimits
    private var isAtEnd = false
    private var frames = 0

    /// Starts decoding a file.
    ///
    /// - Parameter program: The program that has the `decode-worker` command: this one.
    init(
        _ path: String,
        _ task: DecodeWorker.Task,
        program: String = "/proc/self/exe"
    ) throws {
        limits = task.limits
        let file = try RegularFile(path)
        guard file.count > 0 else { throw JobFailure(.damaged, "The file is empty.") }
        child = try ChildProcess(
            program,
            Self.arguments(task),
            environment: Self.environment,
            input: file.descriptor
        )
        let (head, body) = try Self.message(child, limits) {
            $0.length <= DecodeMessage.Head.jsonLimit
        }
        guard head.kind == .info, let info = Self.decoded(UploadInfo.self, body),
            info.isPlausible(limits)
        else { throw Self.crashed(child) }
        self.info = info
    }

    /// The next frame; nil after the last one.
    func next() throws -> VideoFrame? {
        guard !isAtEnd else { return nil }
        let (width, height) = (info.width, info.height)
        let expected = 8 + info.frameBytes
        let (head, body) = try Self.message(child, limits) { head in
            switch head.kind {
            case .frame: head.length == expected
            case .end: head.length == 0
            case .info, .problem: false
            }
        }
        guard head.kind == .frame else {
            isAtEnd = true
            return nil
        }
        frames += 1
        guard frames <= limits.frames else {
            throw JobFailure(.tooLarge, "The video has more than \(limits.frames) frames.")
        }
        let bits = body[0..<8].reversed().reduce(0) { $0 << 8 | UInt64($1) }
        let seconds = Double(bitPattern: bits)
        return try VideoFrame(
            width: width,
            height: height,
            pixels: Array(body[8...]),
            seconds: seconds.isFinite ? seconds : 0
        )
    }

    /// Ends the process.
    func close() { child.kill() }

    // MARK: - The process

    private static func arguments(_ task: DecodeWorker.Task) -> [String] {
        var arguments = [
            "decode-worker",
            "--picture-pixels", "\(task.limits.picturePixels)",
            "--video-pixels", "\(task.limits.videoPixels)",
            "--frames", "\(task.limits.frames)",
            "--memory", "\(task.limits.memoryBytes)",
            "--seconds", "\(task.limits.processorSeconds)",
        ]
        if let rate = task.frameRate { arguments += ["--rate", "\(rate)"] }
        if task.onlyInspects { arguments.append("--inspect") }
        return arguments
    }

    /// Nothing of the server's environment, except where its libraries are.
    private static var environment: [String] {
        let libraries = ProcessInfo.processInfo.environment["LD_LIBRARY_PATH"]
        return ["OMP_NUM_THREADS=1", "SWIFT_BACKTRACE=enable=no"]
            + (libraries.map { ["LD_LIBRARY_PATH=\($0)"] } ?? [])
    }

    // MARK: - The pipe

    /// Reads a message that is as expected; throws the process's own problem, or that it has none.
    private static func message(
        _ child: ChildProcess,
        _ limits: DecodeLimits,
        isExpected: (DecodeMessage.Head) -> Bool
    ) throws -> (DecodeMessage.Head, [UInt8]) {
        let deadline = ContinuousClock.now + limits.frameTimeout
        let bytes = try read(DecodeMessage.Head.count, child, deadline)
        guard let head = DecodeMessage.Head(bytes) else { throw crashed(child) }
        if head.kind == .problem, head.length <= DecodeMessage.Head.jsonLimit {
            let body = try read(head.length, child, deadline)
            guard let problem = decoded(DecodeMessage.Problem.self, body) else {
                throw crashed(child)
            }
            throw JobFailure(problem)
        }
        guard isExpected(head) else { throw crashed(child) }
        return (head, try read(head.length, child, deadline))
    }

    private static func read(
        _ count: Int,
        _ child: ChildProcess,
        _ deadline: ContinuousClock.Instant
    ) throws -> [UInt8] {
        var missing = count
        let bytes = try [UInt8](unsafeUninitializedCapacity: count) { buffer, initialized in
            while missing > 0 {
                let left = (deadline - .now).seconds * 1_000
                var waiting = pollfd(fd: child.output, events: Int16(POLLIN), revents: 0)
                guard left > 0, poll(&waiting, 1, Int32(left.rounded(.up))) != 0 else {
                    child.kill()
                    throw JobFailure(.timeout, "Decoding the file took too long.")
                }
                let target = buffer.baseAddress.map { $0 + initialized }
                let read = Glibc.read(child.output, target, missing)
                if read < 0, errno == EINTR || errno == EAGAIN { continue }
                guard read > 0 else { return }
                initialized += read
                missing -= read
            }
        }
        guard missing == 0 else { throw crashed(child) }
        return bytes
    }

    private static func decoded<Value: Decodable>(
        _ type: Value.Type,
        _ bytes: [UInt8]
    ) -> Value? {
        try? JSONDecoder().decode(type, from: Data(bytes))
    }

    /// The process ended, or wrote something that it never would.
    private static func crashed(_ child: ChildProcess) -> JobFailure {
        if case .signaled(let signal) = child.kill(), signal == SIGXCPU {
            return JobFailure(.timeout, "Decoding the file took too long.")
        }
        return JobFailure(.crashed, "The file could not be decoded: it made the decoder fail.")
    }
}
