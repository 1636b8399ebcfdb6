import SwanSystem

/// What a key in a LoRA's file says: the module that is changed, and what the tensor is to it.
///
/// The spellings are those of PEFT, diffusers, ComfyUI, kohya's trainers, LyCORIS and the projects
/// that follow them.
struct LoRAKey {
    let name: LoRAModuleName
    let role: LoRA.Role

    /// The wrappers of a module that are no part of its name.
    private static let wrappers: Set<Substring> = [
        "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module", "base_layer",
    ]

    /// Reads a key; nil if it is not one of a LoRA.
    init?(_ key: String) {
        // ai-toolkit writes `$$` for the dots of its modules.
        let parts = key.replacing("$$", with: ".")
            .split(separator: ".", omittingEmptySubsequences: false)
            .filter { !Self.wrappers.contains($0) }
        guard let (role, moduleParts) = Self.role(parts) else { return nil }
        let name = LoRAModuleName(moduleParts)
        // Any model's file has such keys, and so have adapters of other kinds.
        if role == .newWeight || role == .newBias {
            let isOther = ["lora_", "lokr_", "hada_"].contains {
                moduleParts.last?.hasPrefix($0) ?? false
            }
            guard name.isKnown, !isOther, Self.otherKind(key) == nil else { return nil }
        }
        self.name = name
        self.role = role
    }

    /// The role of a key, and the parts of its module's name.
    private static func role(
        _ parts: [Substring]
    ) -> (role: LoRA.Role, module: ArraySlice<Substring>)? {
        let places = parts.indices.reversed().prefix(4)
        for index in places where index > 0 {
            var start = index
            var found = LoRA.Role(spelling: parts[index])
            // `lora.down` in place of `lora_down`.
            if parts[index - 1] == "lora",
                let role = LoRA.Role(spelling: "lora_" + parts[index])
            {
                (found, start) = (role, index - 1)
            }
            guard let role = found else { continue }
            guard let exact = completed(role, parts[(index + 1)...]) else { return nil }
            return (exact, parts[..<start])
        }
        return wholeRole(parts)
    }

    /// The role of a tensor, given what follows it: `weight` or `bias`, after PEFT's name of the
    /// adapter.
    private static func completed(
        _ role: LoRA.Role,
        _ rest: ArraySlice<Substring>
    ) -> LoRA.Role? {
        guard rest.count <= 2, !rest.contains("") else { return nil }
        guard rest.last == "bias" else {
            return rest.count < 2 || rest.last == "weight" ? role : nil
        }
        return role == .up ? .upBias : nil
    }

    /// A tensor that replaces one of the model, as PEFT saves modules that were trained whole.
    private static func wholeRole(
        _ parts: [Substring]
    ) -> (role: LoRA.Role, module: ArraySlice<Substring>)? {
        let role: LoRA.Role
        switch parts.last {
        case "weight": role = .newWeight
        case "bias": role = .newBias
        default: return nil
        }
        let module = parts.dropLast()
        guard let saved = module.lastIndex(of: "modules_to_save") else { return (role, module) }
        return (role, module[..<saved])
    }

    /// What is trained by methods whose changes are of other kinds, by parts of their keys.
    private static let otherKinds: [(part: String, kind: String)] = [
        ("boft_", "BOFT"), ("oft_", "OFT"), ("ia3_", "(IA)³"), ("on_input", "(IA)³"),
        ("vera_lambda", "VeRA"), ("lora_E", "AdaLoRA"), ("lora_embedding_", "an embedding's LoRA"),
        ("hra_u", "HRA"), ("a1", "GLoRA"), ("b1", "GLoRA"), ("vblora_", "VB-LoRA"),
        ("fourierft_", "FourierFT"), ("randlora_", "RandLoRA"), ("poly_lora", "Poly"),
    ]

    /// The kind of adapter that a key belongs to, if it is one that is not supported.
    static func otherKind(_ key: String) -> String? {
        for part in key.split(separator: ".") {
            for (start, kind) in otherKinds
            where start.count > 2 ? part.hasPrefix(start) : part == start {
                return kind
            }
        }
        return nil
    }
}

extension LoRA {
    /// What a tensor is to the module it names.
    enum Role: Hashable, Sendable {
        /// A product up · down, or with a core: up · mid · down.
        case down, up, mid
        /// Its scale, and a factor that some trainers keep apart.
        case alpha, scalar
        /// What is added to the bias, scaled as the product is.
        case upBias
        /// A full difference of a weight, a bias or a modulation.
        case weight, bias, modulation
        /// A value in place of a weight or a bias.
        case newWeight, newBias
        /// The norms of DoRA's weights: of the outputs, or of the axis that the shape says.
        case magnitude, doraScale
        /// LoKr: a Kronecker product w1 ⊗ w2, each whole or a product.
        case kron1, kron1A, kron1B, kron1T, kron2, kron2A, kron2B, kron2T
        /// LoHa: the elementwise product of two products.
        case hada1A, hada1B, hada1T, hada2A, hada2B, hada2T

        private static let spellings: [Substring: Role] = [
            "lora_A": .down, "lora_down": .down, "lora_B": .up, "lora_up": .up, "lora_mid": .mid,
            "alpha": .alpha, "lora_alpha": .alpha, "scalar": .scalar,
            "diff": .weight, "w_norm": .weight, "diff_b": .bias, "b_norm": .bias,
            "diff_m": .modulation, "set_weight": .newWeight,
            "dora_scale": .doraScale, "lora_magnitude_vector": .magnitude,
            "magnitude": .magnitude,
            "lokr_w1": .kron1, "lokr_w1_a": .kron1A, "lokr_w1_b": .kron1B, "lokr_t1": .kron1T,
            "lokr_w2": .kron2, "lokr_w2_a": .kron2A, "lokr_w2_b": .kron2B, "lokr_t2": .kron2T,
            "hada_w1_a": .hada1A, "hada_w1_b": .hada1B, "hada_t1": .hada1T,
            "hada_w2_a": .hada2A, "hada_w2_b": .hada2B, "hada_t2": .hada2T,
        ]

        init?(spelling: Substring) {
            guard let role = Self.spellings[spelling] else { return nil }
            self = role
        }

        /// LyCORIS' and ComfyUI's spelling of a role that belongs to LoKr, LoHa or DoRA; nil for
        /// others.
        var lycoris: String? {
            let own: Set<Role> = [
                .scalar, .doraScale, .kron1, .kron1A, .kron1B, .kron1T, .kron2, .kron2A, .kron2B,
                .kron2T, .hada1A, .hada1B, .hada1T, .hada2A, .hada2B, .hada2T,
            ]
            guard own.contains(self) else { return nil }
            return Self.spellings.first { $0.value == self }.map { String($0.key) }
        }
    }
}
