extension TinyTraining {
    /// The text of a recipe for a text-to-video model with very small networks.
    public static let textToVideoRecipe = """
        name: smallest-t2v
        seed: 3
        license: Apache-2.0
        threads: 1
        autoencoder: tiny
        video: {size: 32, latent_frames: 4, fps: 16, clips: 6}
        text:
          sentences: 60
          steps: 60
          batch: 8
          model:
            vocab_size: 330
            d_model: 64
            d_kv: 16
            d_ff: 64
            num_heads: 2
            num_layers: 2
            relative_attention_num_buckets: 8
            relative_attention_max_distance: 16
            layer_norm_epsilon: 1.0e-6
          optimizer: &optimizer
            learning_rate: 5.0e-3
            warm_up_steps: 2
            decay_from: 0.5
            final_rate: 0.1
            betas: [0.9, 0.99]
            weight_decay: 0
            maximum_gradient_norm: 1
            average_decay: 0.5
        transformer:
          model:
            dim: 48
            ffn_dim: 64
            num_heads: 2
            num_layers: 1
            in_dim: 48
            out_dim: 48
            freq_dim: 32
            text_dim: 64
            text_len: 64
            patch_size: [1, 2, 2]
            eps: 1.0e-6
            qk_norm: true
            cross_attn_norm: true
          shift: 3
          prompt_dropout: 0.1
          steps: 12
          batch: 4
          optimizer: *optimizer
        evaluation: {every_steps: 12, prompts: 2, steps: 2, final_steps: 2, guidance: 2}
        checkpoints: {every_steps: 5, every_minutes: 60, kept: 2}
        """
}
