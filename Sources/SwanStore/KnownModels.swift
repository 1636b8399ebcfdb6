/// The published models that Swan knows by name.
package enum KnownModels {
    /// The models, in the order in which they are listed.
    package static let all: [KnownModel] = streaming + generating + inDiffusersLayout + autoencoders

    /// The model of a name or of a repository, regardless of case.
    package static func named(_ text: String) -> KnownModel? {
        let text = text.lowercased()
        return all.first { $0.name == text || $0.repository?.lowercased() == text }
    }

    private static let apache = "Apache-2.0"
    private static let textAndPictures = [
        "models_t5_umt5-xxl-enc-bf16.pth", "Wan2.?_VAE.pth", "google/umt5-xxl/*", "LICENSE*",
    ]
    private static let original =
        [
            "config.json", "diffusion_pytorch_model*", "high_noise_model/*", "low_noise_model/*",
            "models_clip_open-clip-xlm-roberta-large-vit-huge-14.pth",
        ] + textAndPictures
    private static let diffusers = [
        "model_index.json", "transformer/*", "transformer_2/*", "vae/*", "text_encoder/*",
        "tokenizer/*", "image_encoder/*", "image_processor/*", "scheduler/*", "LICENSE*",
    ]

    /// StreamDiffusionV2's models: a causal transformer, and what Wan's model has beside its own.
    private static let streaming: [KnownModel] = [
        KnownModel(
            name: "streamdiffusionv2",
            summary: "restyles live video, 1.3B",
            license: apache,
            parts: causal("wan_causal_dmd_v2v", base: "Wan-AI/Wan2.1-T2V-1.3B")
        ),
        KnownModel(
            name: "streamdiffusionv2-14b",
            summary: "restyles live video, 14B",
            license: apache,
            parts: causal("wan_causal_dmd_v2v_14b", base: "Wan-AI/Wan2.1-T2V-14B"),
            // The only key in which its configuration differs from the smaller model's.
            written: ["stream.yaml": "adapt_sink_threshold: 0.2\n"]
        ),
    ]

    private static func causal(_ folder: String, base: String) -> [KnownModel.Part] {
        [
            .init(
                place: .repository("jerryfeng/StreamDiffusionV2"),
                files: [folder + "/model.pt"],
                folder: folder
            ),
            .init(place: .repository(base), files: ["config.json"] + textAndPictures),
        ]
    }

    private static let generating: [KnownModel] = [
        wan("Wan2.1-T2V-1.3B", "text to video, 480p"),
        wan("Wan2.1-T2V-14B", "text to video, 480p and 720p"),
        wan("Wan2.1-I2V-14B-480P", "image to video, 480p"),
        wan("Wan2.1-I2V-14B-720P", "image to video, 720p"),
        wan("Wan2.1-FLF2V-14B-720P", "first and last image to video, 720p"),
        wan("Wan2.1-VACE-1.3B", "video editing by control, mask and references, 480p"),
        wan("Wan2.1-VACE-14B", "video editing by control, mask and references, 480p and 720p"),
        wan("Wan2.2-TI2V-5B", "text or image to video, 720p"),
        wan("Wan2.2-T2V-A14B", "text to video, two experts, 480p and 720p"),
        wan("Wan2.2-I2V-A14B", "image to video, two experts, 480p and 720p"),
    ]

    private static let inDiffusersLayout: [KnownModel] = [
        "Wan2.1-T2V-1.3B-Diffusers", "Wan2.1-T2V-14B-Diffusers", "Wan2.1-I2V-14B-480P-Diffusers",
        "Wan2.1-I2V-14B-720P-Diffusers", "Wan2.1-FLF2V-14B-720P-diffusers",
        "Wan2.1-VACE-1.3B-diffusers", "Wan2.1-VACE-14B-diffusers", "Wan2.2-TI2V-5B-Diffusers",
        "Wan2.2-T2V-A14B-Diffusers", "Wan2.2-I2V-A14B-Diffusers",
    ].map { wan($0, "the same in diffusers' layout", diffusers) }

    private static let autoencoders: [KnownModel] = [
        tiny("taew2_1", "TAEHV, a tiny autoencoder for Wan 2.1 and Wan 2.2's 14B models (--vae)"),
        tiny("taew2_2", "TAEHV, a tiny autoencoder for Wan2.2-TI2V-5B (--vae)"),
    ]

    private static func wan(
        _ name: String,
        _ summary: String,
        _ files: [String] = original
    ) -> KnownModel {
        KnownModel(
            name: name.lowercased(),
            summary: summary,
            license: apache,
            parts: [.init(place: .repository("Wan-AI/" + name), files: files)]
        )
    }

    private static func tiny(_ name: String, _ summary: String) -> KnownModel {
        let url = "https://github.com/madebyollin/taehv/raw/main/\(name).pth"
        return KnownModel(
            name: name,
            summary: summary,
            license: "MIT",
            parts: [.init(place: .file(url: url))]
        )
    }
}
