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
    private let replaces: Bool

    /// A report to `path`, `-` for standard output, nil for none. Throws where it cannot be.
    ///
    /// - Parameter replaces: whether it may take the place of what is there when it is written.
    init(_ path: String?, replaces: Bool = true) throws {
        self.path = path
        self.replaces = replaces
        guard let path, path != "-" else { return }
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

/// A job that signals can stop and that ends in a report.
struct ReportedJob {
    let signals: StopSignals
    let report: JSONReport
    let log: Logger

    /// Runs the job, which gives its report; after a signal the process ends with the signal's code.
    func run(_ job: () throws -> Data) throws {
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

/// Standard output, which carries results only.
enum StandardOutput {
    /// Writes all bytes; throws where nobody reads them or the disk is full.
    static func write(_ data: Data) throws { try OutputPath.writeToStandardOutput(data) }

    /// Writes a text and a line break.
    static func write(_ text: String) throws {
        try write(Data((text.printable(limit: 4_000_000, keepsLines: true) + "\n").utf8))
    }
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
