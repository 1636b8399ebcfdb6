public import ArgumentParser
import Foundation
import SwanCheckpoints
import SwanModels
import SwanPipelines
import SwanSystem
import Torch

extension CheckpointNames.Naming: ExpressibleByArgument {}
extension LoRAFormat: ExpressibleByArgument {}
extension CheckpointKind: ExpressibleByArgument {}

/// `swan models convert`: rewrites the weights of one part of a model.
struct ConvertCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "convert",
        abstract: "Rewrite the weights of a part with other names, another dtype or other shards.",
        discussion: """
            The part is a transformer, an autoencoder or a text encoder: a .safetensors, .gguf or .pth file, a \
            shard index, or a folder that contains one of them. Scaled float8 and the blocks of GGUF files are \
            converted to bfloat16. A LoRA's \
            file gets the names of another program with --lora.

            EXAMPLES:
              swan models convert Wan2.1_VAE.pth vae --to diffusers
              swan models convert model/transformer transformer.safetensors --to original
              swan models convert model.pt causal --dtype bfloat16 --shard-size 5GB
              swan models convert lora.safetensors for-diffusers.safetensors --lora peft
            """
    )

    @Argument(help: "The weights: a file, a shard index, or the folder of a part.")
    var source: String

    @Argument(help: "The output: a .safetensors file or a folder, which must not exist yet.")
    var destination: String

    @Option(help: "The naming scheme of the output (\(CheckpointNames.Naming.list)).")
    var to: CheckpointNames.Naming?

    @Option(
        help: "Convert a LoRA to the names of diffusers and PEFT (peft), comfyui or musubi."
    )
    var lora: LoRAFormat?

    @Option(
        help: "The part to convert of a file with several: transformer, vae or text_encoder."
    )
    var part: CheckpointKind?

    @Option(help: "The dtype to convert floating-point weights to (float32, bfloat16, float16).")
    var dtype: WeightType = .auto

    @Option(help: "The maximum size of each file in an output folder, such as 500MB or 5GB.")
    var shardSize = ByteCount(bytes: 10_000_000_000)

    @Flag(help: "Print what was written as JSON.")
    var json = false

    func validate() throws {
        guard lora == nil || to == nil && dtype == .auto && part == nil else {
            throw ValidationError(
                "--to, --dtype and --part are not for LoRAs, whose names --lora says"
            )
        }
    }

    func run() throws {
        if let lora {
            try LoRAConversion.convert(source, to: destination, as: lora)
            return try json
                ? StandardOutput.write(JSONText.data(["files": [destination]]))
                : StandardOutput.write(destination)
        }
        var conversion = CheckpointConversion()
        conversion.naming = to
        conversion.dtype = dtype.dtype
        conversion.part = part
        conversion.shardBytes = shardSize.bytes
        let messages = StopSignals.Messages(abandoned: "stopped; nothing was written")
        let signals = try StopSignals(
            messages,
            stop: { false },
            abandon: { [conversion] in conversion.abandon() }
        )
        let result = try converted(conversion, signals)
        if json {
            try StandardOutput.write(JSONText.data(result))
        } else {
            try StandardOutput.write(result.files.joined(separator: "\n"))
        }
    }

    private func converted(
        _ conversion: CheckpointConversion,
        _ signals: StopSignals
    ) throws -> CheckpointConversion.Result {
        do {
            return try conversion(source, to: destination)
        } catch {
            // After a signal, writing fails because the partial output is gone.
            if let code = signals.exitCode { throw ExitCode(code) }
            throw error
        }
    }
}

extension CheckpointNames.Naming {
    fileprivate static var list: String { allCases.map(\.rawValue).joined(separator: ", ") }
}

/// A number of bytes with a unit, such as 500MB or 5GB.
struct ByteCount: ExpressibleByArgument, CustomStringConvertible {
    let bytes: Int

    private static let units = [("GB", 1_000_000_000), ("MB", 1_000_000), ("kB", 1_000), ("B", 1)]

    var description: String {
        let (unit, size) = Self.units.first { bytes.isMultiple(of: $0.1) } ?? ("B", 1)
        return "\(bytes / size)\(unit)"
    }

    init(bytes: Int) { self.bytes = bytes }

    init?(argument: String) {
        let text = argument.uppercased()
        guard let (unit, size) = Self.units.first(where: { text.hasSuffix($0.0.uppercased()) }),
            let number = Double(text.dropLast(unit.count).trimmingCharacters(in: .whitespaces)),
            number > 0, number * Double(size) >= 1, number * Double(size) < 1e15
        else { return nil }
        bytes = Int(number * Double(size))
    }
}
