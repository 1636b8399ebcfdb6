import ArgumentParser
import Foundation
import Logging
import SwanMedia
import SwanPipelines
import Torch

/// What weights are converted to.
enum WeightType: String, ExpressibleByArgument, CaseIterable {
    case auto, float32, bfloat16, float16

    /// nil for what suits the device.
    var dtype: DType? {
        switch self {
        case .auto: nil
        case .float32: .float32
        case .bfloat16: .bfloat16
        case .float16: .float16
        }
    }
}

/// `auto`, `cpu`, `cuda` or `cuda:N`. Whether it is there is not looked at.
struct DeviceName: ExpressibleByArgument, CustomStringConvertible {
    let name: String

    var description: String { name }

    init(name: String) {
        self.name = name
    }

    init?(argument: String) {
        guard
            ["auto", "cpu", "cuda"].contains(argument)
                || argument.wholeMatch(of: /cuda:\d{1,4}/) != nil
        else { return nil }
        name = argument
    }
}

/// A summary for programs, in a file or on standard output.
struct JSONReport {
    private let path: String?

    /// A report to `path`, `-` for standard output, nil for none. Throws where it cannot be.
    init(_ path: String?) throws {
        self.path = path
        guard let path, path != "-" else { return }
        try OutputPath.requireWritable(path)
    }

    /// Writes the report.
    func write(_ data: Data) throws {
        guard let path else { return }
        guard path == "-" else {
            do {
                let url = URL(fileURLWithPath: path)
                // Pipes and devices are written to; to replace one would take it away.
                guard let place = try Self.pipe(path) else {
                    return try data.write(to: url, options: .atomic)
                }
                try place.write(contentsOf: data)
            } catch {
                throw OutputError(description: "\(path): \(error.localizedDescription)")
            }
            return
        }
        try StandardOutput.write(data)
    }
}

/// A job that signals can stop and that ends in a report.
struct ReportedJob {
    let signals: StopSignals
    /// Where the report goes, as for `JSONReport`.
    let json: String?
    let log: Logger

    /// Runs the job, which gives its report; after a signal the process ends with the signal's code.
    func run(_ job: () throws -> Data) throws {
        let report = try JSONReport(json)
        if RawArguments.areDamaged {
            log.warning("an argument is not valid UTF-8; its broken bytes are read as U+FFFD")
        }
        let data: Data
        do {
            data = try job()
        } catch {
            // A stop ends what the job waits for; the error is its echo.
            if let code = signals.exitCode { throw ExitCode(code) }
            Terminal.standardError.clear()
            throw error
        }
        try report.write(data)
        if let code = signals.exitCode { throw ExitCode(code) }
    }
}

extension JSONReport {
    /// What is open at `path` if that is a pipe or a device; nil for files.
    private static func pipe(_ path: String) throws -> FileHandle? {
        var status = stat()
        guard stat(path, &status) == 0, status.st_mode & S_IFMT != S_IFREG else { return nil }
        return try FileHandle(forWritingTo: URL(fileURLWithPath: path))
    }
}

/// Standard output, which carries results only.
enum StandardOutput {
    /// Writes all bytes; throws where nobody reads them or the disk is full.
    static func write(_ data: Data) throws {
        do {
            try FileHandle.standardOutput.write(contentsOf: data)
        } catch {
            let reason = String(cString: strerror(errno))
            throw OutputError(description: "standard output: \(reason)")
        }
    }

    /// Writes a text and a line break.
    static func write(_ text: String) throws {
        try write(Data((text.printable(limit: 4_000_000, keepsLines: true) + "\n").utf8))
    }
}

/// Standard output that cannot be written to.
struct OutputError: Error, CustomStringConvertible {
    let description: String
}

/// The arguments as the kernel gave them.
enum RawArguments {
    /// Whether one of them is not UTF-8.
    static var areDamaged: Bool {
        (0..<Int(CommandLine.argc)).contains { index in
            guard let argument = CommandLine.unsafeArgv[index] else { return false }
            return String(validatingCString: argument) == nil
        }
    }
}
