import ArgumentParser
import SwanCheckpoints
import SwanPipelines
import SwanSystem
import Torch

/// Options that select a streaming model and where it runs.
struct StreamingModelOptions: ParsableArguments {
    @Option(
        help: "The name of a bundled or pulled model, or a model folder (see 'swan models').",
        completion: Completions.model
    )
    var model = BundledModels.names[0]

    @Option(
        help: ArgumentHelp(
            "Use another autoencoder: 'tiny' is TAEHV (taew2_1, taew2_2) from the model folder, several "
                + "times faster; 'tiny-decoder' is TAEHV's decoder with the model's encoder; or a path "
                + "to weights.",
            valueName: "name or path"
        )
    )
    var vae: String?

    @Option(
        help: ArgumentHelp(
            "Use this streaming configuration instead of the model's stream.yaml.",
            valueName: "yaml"
        ),
        completion: .file(extensions: ["yaml", "yml"])
    )
    var config: String?

    @Option(
        help: "The device to run on: auto (a GPU if available), cpu, cuda or cuda:N.",
        completion: Completions.device
    )
    var device = DeviceName(name: "auto")

    @Option(
        help: """
            The dtype to compute in; auto is the one the model's configuration asks for, or bfloat16 if \
            the processor or GPU has instructions for it.
            """
    )
    var dtype = WeightType.auto

    @Option(
        name: .customLong("lora"),
        parsing: .unconditionalSingleValue,
        help: ArgumentHelp(
            "A LoRA for the model and its strength (default: 1). Repeatable.",
            valueName: "file[=strength]"
        )
    )
    var loras: [LoRAArgument] = []

    @Flag(
        name: .customLong("lora-strict"),
        help: "Refuse a LoRA if a part of it has no place in the model, instead of leaving it out."
    )
    var requiresWholeLoRAs = false

    /// Opens the model, whose networks are not loaded yet.
    func checkpoint() throws -> StreamCheckpoint {
        try StreamCheckpoint(
            model,
            vae: vae,
            configuration: config,
            loras: loras.map(\.file),
            requiresWholeLoRAs: requiresWholeLoRAs
        )
    }

    /// What ranks must have in common: the content of files, and the dtype, which depends on the device.
    func job(on device: Device) -> RankedJob {
        var job = RankedJob(models: ["--model": model], device: "\(device)")
        for lora in loras { job.models["--lora \(lora.file.path)"] = lora.file.path }
        job.models["--config"] = config
        if let vae, RankedJob.isFile(vae) { job.models["--vae"] = vae }
        do {
            let type = try dtype.dtype ?? checkpoint().configuration.computeType(on: device)
            job.agreed["the dtype of the model"] = "\(type)"
        } catch {
            // Opening the model later says what is wrong.
            job.agreed["the dtype of the model"] = "unknown"
        }
        return job
    }

    /// Loads the networks of a model that was opened.
    func load(_ checkpoint: StreamCheckpoint) throws -> StreamModel {
        let chosen = try Device(named: device.name)
        let type = dtype.dtype ?? checkpoint.configuration.computeType(on: chosen)
        return try checkpoint.load(type, chosen)
    }
}
