import Foundation
import SwanSystem
import Torch

/// The machine that Swan runs on.
package struct Machine: Sendable, Encodable {
    /// The processor's name; empty if the kernel does not report it.
    package let processor: String
    /// The number of logical cores.
    package let cores: Int
    /// The amount of memory in bytes.
    package let memoryBytes: Int
    /// The relevant instruction sets that the processor supports.
    package let instructions: [String]

    private enum CodingKeys: String, CodingKey {
        case processor, cores, memoryBytes = "memory_bytes", instructions
    }

    /// This machine, read once.
    package static let current = Machine(cpuInfo: ProcessFacts.text("/proc/cpuinfo") ?? "")

    /// Creates a description from the text of `/proc/cpuinfo`.
    init(cpuInfo: String) {
        func field(_ name: String) -> Substring? {
            cpuInfo.split(separator: "\n").first { $0.hasPrefix(name) }?.split(separator: ":").last
        }
        processor = field("model name")?.trimmingCharacters(in: .whitespaces) ?? ""
        cores = ProcessInfo.processInfo.activeProcessorCount
        memoryBytes = Int(clamping: ProcessInfo.processInfo.physicalMemory)
        let flags = Set((field("flags") ?? field("Features") ?? "").split(separator: " "))
        instructions = Self.known.filter { flags.contains(Substring($0)) }
    }

    /// The kernel's names of the relevant instruction sets; `bf16` is Arm's.
    private static let known = [
        "avx2", "fma", "f16c", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "asimd", "bf16",
    ]
}
