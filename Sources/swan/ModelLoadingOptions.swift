import ArgumentParser
import SwanCheckpoints
import SwanPipelines

/// Options that select a checkpoint and how it is loaded.
struct ModelLoadingOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "The checkpoint: a folder, a file, or the name of a pulled model (see 'swan models').",
            valueName: "folder, file or name"
        ),
        completion: Completions.model
    )
    var model: String

    @Option(
        help: ArgumentHelp(
            "Use another autoencoder: 'tiny' is TAEHV (taew2_1, taew2_2) from the model folder, "
                + "'tiny-decoder' is TAEHV's decoder with the model's encoder; or a path to weights.",
            valueName: "name or path"
        )
    )
    var vae: String?

    @Option(
        name: .customLong("text-encoder"),
        help: ArgumentHelp(
            "The text encoder's weights, if not in the model folder.",
            valueName: "file"
        ),
        completion: .file()
    )
    var textEncoder: String?

    @Option(
        name: .customLong("image-encoder"),
        help: ArgumentHelp(
            "The weights of the CLIP image encoder, if not in the model folder.",
            valueName: "file"
        ),
        completion: .file()
    )
    var imageEncoder: String?

    @Option(
        help: ArgumentHelp(
            "The tokenizer (spiece.model or tokenizer.json), if not in the model folder.",
            valueName: "file"
        ),
        completion: .file()
    )
    var tokenizer: String?

    @Option(
        name: .customLong("lora"),
        parsing: .unconditionalSingleValue,
        help: ArgumentHelp(
            "A LoRA and its scale (default: 1); high:FILE or low:FILE applies it to one of two "
                + "experts. Repeatable.",
            valueName: "file[=scale]"
        ),
        completion: .file()
    )
    var loras: [LoRAArgument] = []

    @Flag(
        name: .customLong("live-lora"),
        help: "Apply LoRAs in each layer instead of merging them: less memory, slower steps."
    )
    var addsLoRAsLive = false

    @Flag(
        name: .customLong("lora-strict"),
        help: "Refuse a LoRA if a part of it has no place in the model, instead of leaving it out."
    )
    var requiresWholeLoRAs = false

    @Option(
        help:
            "What to unload while unused: none, model (whole parts) or block (transformer blocks)."
    )
    var offload = GenerationOptions.Offload.model

    @Flag(name: .customLong("t5-cpu"), help: "Keep the text encoder on the CPU.")
    var textEncoderOnCPU = false

    @Flag(
        name: .customLong("vae-tiling"),
        help: "Run the autoencoder on overlapping tiles: less memory."
    )
    var tilesVAE = false

    @Option(
        help: "The device to run on: auto (a GPU if available), cpu, cuda or cuda:N.",
        completion: Completions.device
    )
    var device = DeviceName(name: "auto")

    @Option(
        help: """
            The dtype to compute in; auto is bfloat16 if the processor or GPU has instructions for it, \
            otherwise float32.
            """
    )
    var dtype = WeightType.auto

    /// The files that the options name, by option.
    var files: [String: String] {
        let named = [
            "--text-encoder": textEncoder, "--image-encoder": imageEncoder,
            "--tokenizer": tokenizer,
            "--vae": vae.flatMap { RankedJob.isFile($0) ? $0 : nil },
        ]
        return named.compactMapValues { $0 }
    }

    func options() throws -> GenerationOptions {
        var options = GenerationOptions()
        options.files = [
            .textEncoder: textEncoder, .imageEncoder: imageEncoder, .tokenizer: tokenizer,
        ].compactMapValues { $0 }
        options.vae = vae
        options.loras = loras.map(\.file)
        options.addsLoRAsLive = addsLoRAsLive
        options.requiresWholeLoRAs = requiresWholeLoRAs
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
    /// The argument as it was given.
    let text: String

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
        file = .init(ModelLocation.path(String(rest)), strength: strength, expert: expert)
        text = argument
    }
}
