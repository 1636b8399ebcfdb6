import Foundation
import SwanSystem
import Torch

/// The machine that Swan runs on.
public struct Machine: Sendable, Encodable {
    /// The processor's name; empty where the kernel does not tell.
    public let processor: String
    /// Logical cores.
    public let cores: Int
    /// Bytes of memory.
    public let memoryBytes: Int
    /// Of the instruction sets that matter here, those the processor has.
    public let instructions: [String]

    private enum CodingKeys: String, CodingKey {
        case processor, cores, memoryBytes = "memory_bytes", instructions
    }

    /// This machine, read once.
    public static let current = Machine(cpuInfo: ProcessFacts.text("/proc/cpuinfo") ?? "")

    /// A machine by the text of its `/proc/cpuinfo`.
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

    /// Named as the kernel names them; `bf16` is that of Arm.
    private static let known = [
        "avx2", "fma", "f16c", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "asimd", "bf16",
    ]
}
