import ArgumentParser
import Foundation
import Logging
import SwanMedia
import SwanPipelines
import Torch
import SwanSystem

/// The dtype to compute in or convert weights to.
enum WeightType: String, ExpressibleByArgument, CaseIterable {
    case auto, float32, bfloat16, float16

    /// The dtype, or nil to choose one that suits the device.
    var dtype: DType? {
        switch self {
        case .auto: nil
        case .float32: .float32
        case .bfloat16: .bfloat16
        case .float16: .float16
        }
    }
}

/// `auto`, `cpu`, `cuda` or `cuda:N`. The device need not exist.
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

/// A JSON summary, in a file or on standard output.
struct JSONReport {
    private let path: String?
    private let replaces: Bool

    /// Creates a report to `path`: `-` for standard output, nil for none. Throws if the file cannot
    /// be created.
    ///
    /// - Parameter replaces: Whether the report may replace an existing file.
    init(_ path: String?, replaces: Bool = true) throws {
        self.path = Ranks.quietRank == nil ? path : nil
        self.replaces = replaces
        guard let path = self.path, path != "-" else { return }
        try OutputPath.requireWritable(path)
    }

    /// Writes the report.
    func write(_ data: Data) throws {
        guard let path else { return }
        guard path == "-" else {
            return try OutputPath.write(data, to: path, replaces: replaces)
        }
        try StandardOutput.write(data)
    }
}

/// A job that signals can stop and that returns a report.
struct ReportedJob {
    let signals: StopSignals
    let report: JSONReport
    let log: Logger

    /// Runs the job and writes the report it returns. After a signal, throws the signal's exit
    /// code.
    func run(_ job: () throws -> Data) throws {
        if RawArguments.containInvalidUTF8 {
            log.warning("an argument is not valid UTF-8; its invalid bytes are replaced by U+FFFD")
        }
        let data: Data
        do {
            data = try job()
        } catch {
            // After a signal, the error is a consequence of stopping.
            if let code = signals.exitCode { throw ExitCode(code) }
            Terminal.standardError.clear()
            throw error
        }
        try report.write(data)
        if let code = signals.exitCode { throw ExitCode(code) }
    }
}

/// Standard output, which carries results only.
enum StandardOutput {
    /// Writes all bytes; throws if the pipe is closed or the disk is full.
    ///
    /// Of several ranks, only rank 0 writes.
    static func write(_ data: Data) throws {
        guard Ranks.quietRank == nil else { return }
        try OutputPath.writeToStandardOutput(data)
    }

    /// Writes a text followed by a line break.
    static func write(_ text: String) throws {
        let text = ArgumentNames.escaped(in: text).printable(limit: 4_000_000, keepsLines: true)
        try write(Data((text + "\n").utf8))
    }
}

/// The command-line arguments as raw bytes.
enum RawArguments {
    /// Whether any argument is not valid UTF-8.
    static var containInvalidUTF8: Bool {
        (0..<Int(CommandLine.argc)).contains { index in
            guard let argument = CommandLine.unsafeArgv[index] else { return false }
            return String(validatingCString: argument) == nil
        }
    }
}
