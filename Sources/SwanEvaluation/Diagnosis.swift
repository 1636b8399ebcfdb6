package import Foundation
import SwanCheckpoints
import SwanMedia
import SwanSystem
import Torch

/// A check of what this machine offers to Swan, and what is missing.
package struct Diagnosis: Sendable, Encodable {
    /// The result of one check.
    package struct Finding: Sendable, Encodable, Equatable {
        /// The state of what was checked.
        package enum State: String, Sendable, Encodable {
            case good
            /// Swan works without it, but more slowly or with fewer features.
            case optional
            case missing
        }

        /// What was checked.
        package let subject: String
        /// The state.
        package let state: State
        /// What was found.
        package let found: String
        /// What to do about it; nil if nothing needs to be done.
        package let advice: String?
    }

    /// The machine.
    package let machine: Machine
    /// All findings, in order of importance.
    package let findings: [Finding]

    /// Whether streaming is possible on this machine.
    package var canStream: Bool { findings.allSatisfy { $0.state != .missing } }

    /// Checks this machine.
    package init() {
        machine = .current
        findings =
            [
                Self.engine(), Self.processor(.current), Self.memory(.current), Self.gpu(),
                Self.media(),
                Self.encoder(),
            ] + BundledModels.names.map(Self.model)
    }

    /// A human-readable report: a line per finding, followed by any advice.
    package var lines: [String] {
        let width = findings.map(\.subject.count).max() ?? 0
        return findings.flatMap { finding in
            let name = finding.subject.padding(toLength: width, withPad: " ", startingAt: 0)
            let mark =
                switch finding.state {
                case .good: "ok     "
                case .optional: "note   "
                case .missing: "MISSING"
                }
            let line = "\(mark)  \(name)  \(finding.found)"
            let indent = String(repeating: " ", count: width + 11)
            return [line] + (finding.advice.map { [indent + $0] } ?? [])
        }
    }

    /// The diagnosis as JSON.
    package func json() throws -> Data { try JSONText.data(self) }
}

// MARK: - Findings

extension Diagnosis {
    private static func engine() -> Finding {
        Finding(
            subject: "engine",
            state: .good,
            found: "libtorch \(Engine.version), \(Engine.cpuCapability) kernels, "
                + "\(Engine.threads) threads",
            advice: nil
        )
    }

    private static func processor(_ machine: Machine) -> Finding {
        let instructions = machine.instructions.joined(separator: " ")
        let name = machine.processor.isEmpty ? "unknown" : machine.processor
        return Finding(
            subject: "processor",
            state: Engine.multiplies(.bfloat16) ? .good : .optional,
            found: "\(name), \(machine.cores) cores, \(instructions)",
            advice: Engine.multiplies(.bfloat16)
                ? nil
                : "no bfloat16 instructions: --dtype auto is float32, and bfloat16 only saves memory"
        )
    }

    private static func memory(_ machine: Machine) -> Finding {
        let gigabytes = Double(machine.memoryBytes) / 1e9
        return Finding(
            subject: "memory",
            state: gigabytes >= 2 ? .good : .optional,
            found: String(format: "%.1f GB", gigabytes),
            advice: gigabytes >= 2 ? nil : "the bundled model needs 1 GB, the 1.3B model 20 GB"
        )
    }

    private static func gpu() -> Finding {
        do throws(SwanError) {
            let count = try Engine.gpuCount()
            guard count == 0 else {
                return Finding(subject: "GPU", state: .good, found: "\(count)", advice: nil)
            }
            return Finding(
                subject: "GPU",
                state: .optional,
                found: "none",
                advice: "to use an NVIDIA GPU, install its driver and run scripts/bootstrap --cuda"
            )
        } catch {
            return Finding(
                subject: "GPU",
                state: .optional,
                found: "cannot be used: \(error.message)",
                advice: "run scripts/bootstrap --cuda"
            )
        }
    }

    private static func media() -> Finding {
        Finding(
            subject: "FFmpeg",
            state: .good,
            found: "\(MediaLibrary.version), \(MediaLibrary.license)",
            advice: nil
        )
    }

    private static func encoder() -> Finding {
        let names = ["libx264", "libopenh264", "mpeg4"]
        let found = names.first { MediaLibrary.hasEncoder($0) }
        return Finding(
            subject: "H.264 encoder",
            state: found == names[0] ? .good : found == nil ? .missing : .optional,
            found: found ?? "none",
            advice: found == names[0] ? nil : "install FFmpeg with libx264, such as Debian's"
        )
    }

    private static func model(_ name: String) -> Finding {
        guard let folder = BundledModels.folder(name) else {
            return Finding(
                subject: "model \(name)",
                state: .missing,
                found: "not installed",
                advice: "build Swan from a complete clone, or specify a folder with --model"
            )
        }
        do {
            let inspection = try ModelInspection(folder)
            let isComplete = inspection.missing.isEmpty
            return Finding(
                subject: "model \(name)",
                state: isComplete ? .good : .missing,
                found: isComplete ? inspection.kind : "not complete: \(folder)",
                advice: isComplete ? nil : "missing: " + inspection.missing.joined(separator: "; ")
            )
        } catch {
            return Finding(
                subject: "model \(name)",
                state: .missing,
                found: "\(error)",
                advice: "build Swan from a complete clone, or specify a folder with --model"
            )
        }
    }
}
