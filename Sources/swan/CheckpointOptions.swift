import ArgumentParser
import SwanCheckpoints
import SwanPipelines

/// Which checkpoint, and how it is opened.
struct CheckpointOptions: ParsableArguments {
    @Option(help: ArgumentHelp("The checkpoint.", valueName: "folder or file"))
    var model: String

    @Option(
        help: ArgumentHelp(
            "Another autoencoder: 'tiny', the tiny one (taew2_1, taew2_2) in the model's folder; "
                + "'tiny-decoder', its decoder with the model's own encoder; or a path of weights.",
            valueName: "name or path"
        )
    )
    var vae: String?

    @Option(
        name: .customLong("text-encoder"),
        help: ArgumentHelp("The text encoder's weights, if not in the folder.", valueName: "file")
    )
    var textEncoder: String?

    @Option(
        name: .customLong("image-encoder"),
        help: ArgumentHelp("CLIP's weights, if not in the folder.", valueName: "file")
    )
    var imageEncoder: String?

    @Option(
        help: ArgumentHelp(
            "spiece.model or tokenizer.json, if not in the folder.",
            valueName: "file"
        )
    )
    var tokenizer: String?

    @Option(
        name: .customLong("lora"),
        parsing: .unconditionalSingleValue,
        help: ArgumentHelp(
            "A LoRA, and how much of it (1); high:FILE or low:FILE for one of two experts. Can be "
                + "given again.",
            valueName: "file[=scale]"
        )
    )
    var loras: [LoRAArgument] = []

    @Flag(
        name: .customLong("live-lora"),
        help: "Add LoRAs in the layers instead of merging them: less memory, slower steps."
    )
    var addsLoRAsLive = false

    @Option(help: "What leaves memory while it is not needed: none, model (parts), block.")
    var offload = GenerationOptions.Offload.model

    @Flag(name: .customLong("t5-cpu"), help: "Keep the text encoder on the CPU.")
    var textEncoderOnCPU = false

    @Flag(
        name: .customLong("vae-tiling"),
        help: "Put pictures through the autoencoder in overlapping tiles: less memory."
    )
    var tilesVAE = false

    @Option(help: "auto (a GPU if there is one), cpu, cuda or cuda:N.")
    var device = DeviceName(name: "auto")

    @Option(
        help: """
            What is computed in; auto is bfloat16 where the processor or GPU has instructions for it, \
            else float32.
            """
    )
    var dtype = WeightType.auto

    func options() throws -> GenerationOptions {
        var options = GenerationOptions()
        options.files = [
            .textEncoder: textEncoder, .imageEncoder: imageEncoder, .tokenizer: tokenizer,
        ].compactMapValues { $0 }
        options.vae = vae
        options.loras = loras.map(\.file)
        options.addsLoRAsLive = addsLoRAsLive
        options.offload = offload
        options.textEncoderOnCPU = textEncoderOnCPU
        options.tilesVAE = tilesVAE
        options.device = device.name
        options.dtype = dtype.dtype
        return options
    }
}

/// `style.safetensors`, `style.safetensors=0.8`, `high:style.safetensors=0.8`
struct LoRAArgument: ExpressibleByArgument {
    let file: GenerationOptions.LoRAFile

    init?(argument: String) {
        var rest = argument[...]
        var expert: ModelFolder.Part?
        if rest.hasPrefix("high:") { expert = .transformer }
        if rest.hasPrefix("low:") { expert = .lowNoiseTransformer }
        if expert != nil {
            rest = rest[rest.index(after: rest.firstIndex(of: ":") ?? rest.startIndex)...]
        }
        var strength = 1.0
        if let equals = rest.lastIndex(of: "="), let value = Double(rest[equals...].dropFirst()) {
            guard value.isFinite else { return nil }
            strength = value
            rest = rest[..<equals]
        }
        guard !rest.isEmpty else { return nil }
        file = .init(String(rest), strength: strength, expert: expert)
    }
}
