/// A recipe with procedural scenes and very small networks, which trains in seconds.
public enum TinyTraining {
    /// The text of the recipe.
    public static let recipe = """
        name: smallest
        seed: 7
        license: Apache-2.0
        threads: 1
        data: {procedural: 1}
        styles: [none, sepia, night]
        vae:
          model:
            base_dim: 4
            decoder_base_dim: 4
            z_dim: 8
            dim_mult: [1, 2, 3]
            num_res_blocks: 1
            attn_scales: []
            temperal_downsample: [true, true]
            patch_size: 2
            is_residual: false
            subpixel_upsample: true
            in_channels: 12
            out_channels: 12
            latents_mean: [0, 0, 0, 0, 0, 0, 0, 0]
            latents_std: [1, 1, 1, 1, 1, 1, 1, 1]
          training:
            {steps: 6, linear_steps: 2, batch: 1, size: 32, frames: [5, 1], styled: 0.5, latent_noise: 0.02,
             perceptual: 0.02, divergence: 1.0e-5}
          optimizer: &optimizer
            learning_rate: 1.0e-3
            warm_up_steps: 2
            decay_from: 0.5
            final_rate: 0.1
            betas: [0.9, 0.99]
            weight_decay: 0.01
            maximum_gradient_norm: 0.5
            average_decay: 0.9
        text:
          sentences: 300
          steps: 4
          batch: 2
          model:
            vocab_size: 400
            d_model: 16
            d_kv: 8
            d_ff: 32
            num_heads: 2
            num_layers: 1
            relative_attention_num_buckets: 8
            relative_attention_max_distance: 16
            layer_norm_epsilon: 1.0e-6
        transformer:
          model:
            dim: 48
            ffn_dim: 64
            num_heads: 2
            num_layers: 1
            in_dim: 8
            out_dim: 8
            freq_dim: 16
            text_dim: 16
            text_len: 16
            patch_size: [1, 2, 2]
            eps: 1.0e-6
            qk_norm: true
            cross_attn_norm: true
          training:
            noise_scale: 0.3
            noise_spread: 0.1
            full_noise: 0.3
            later_timesteps: [75, 50]
            own_results: 0.7
            running_clips: 0.5
            latent_frames: 2
            window: 2
          phases:
            - {steps: 5, size: 32, batch: 2, pool: 3, first_clips: 2, steps_per_clip: 1}
            - {steps: 3, size: 64, batch: 1, pool: 2, first_clips: 2, steps_per_clip: 1}
          optimizer: *optimizer
        checkpoints: {every_steps: 4, every_minutes: 5, kept: 2}
        samples: {every_steps: 5, clips: 2}
        stream:
          denoising_step_list: [200, 75, 0]
          timestep_shift: 1
          warp_denoising_step: false
          num_frame_per_block: 1
          num_kv_cache: 2
          num_sink_tokens: 0
          adapt_sink_threshold: -1
          noise_scale: 0.3
          normalize_latents: true
          height: 64
          width: 64
          fps: 16
        """
}
