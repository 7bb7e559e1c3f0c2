# Posterior of bayesm's Gibbs sampler (Rossi, Allenby and McCulloch 2005, ch. 7) on data with the
# push experiment's cells; writes rivgibbs.json.
#
#   Rscript rivgibbs.R push.csv      columns in_app_purchase, push_assigned, push_delivered
library(bayesm)
path <- commandArgs(trailingOnly = TRUE)[1]
push <- read.csv(path)
n <- nrow(push)
data <- list(y = push$in_app_purchase, x = push$push_delivered,
             z = cbind(1, push$push_assigned), w = matrix(1, n, 1))
# delta ~ N(0, A^-1): first stage; (beta, gamma) ~ N(mbg, Abg^-1); Sigma ~ inverse Wishart(nu, V).
prior <- list(md = c(0, 0), Ad = diag(c(1, 0.01)), mbg = c(0, 50), Abg = diag(c(0.01, 0.01)),
              nu = 3, V = diag(2))
set.seed(20)
out <- rivGibbs(Data = data, Prior = prior, Mcmc = list(R = 22000, keep = 1, nprint = 0))
keep <- -(1:2000)
ess <- function(x) {
  a <- acf(x, lag.max = 500, plot = FALSE)$acf[-1]
  cut <- which(a < 0.05)[1]
  length(x) / (1 + 2 * sum(a[seq_len(max(1, cut - 1))]))
}
line <- function(name, x) {
  sprintf('  "%s": {"mean": %.6f, "sd": %.6f, "ess": %.1f}', name, mean(x), sd(x), ess(x))
}
sigma <- out$Sigmadraw[keep, ]
rho <- sigma[, 2] / sqrt(sigma[, 1] * sigma[, 4])
lines <- c(line("beta_t", out$betadraw[keep]), line("intercept_y", out$gammadraw[keep]),
           line("intercept_t", out$deltadraw[keep, 1]), line("beta_z", out$deltadraw[keep, 2]),
           line("rho", rho))
writeLines(c("{", paste(lines, collapse = ",\n"), "}"), "rivgibbs.json")
